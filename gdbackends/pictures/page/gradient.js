document.getElementById("copy")?.addEventListener("click", async () => {
  const done = await copied(document.getElementById("again").textContent);
  document.getElementById("copied").textContent = done ? "copied" : "the browser does not allow this page to copy";
});
