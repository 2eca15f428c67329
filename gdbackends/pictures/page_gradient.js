// Copies the line that repeats the check.
const copy = document.getElementById("copy");
copy?.addEventListener("click", async () => {
  const told = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(document.getElementById("again").textContent);
    told.textContent = "copied";
  } catch {
    told.textContent = "the browser does not let this page copy; select the line instead";
  }
});
