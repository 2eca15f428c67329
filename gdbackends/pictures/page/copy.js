// Copies a text; the older way is for browsers that do not let a page from disk have the new one.
const copied = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const [area, last] = [document.createElement("textarea"), document.activeElement];
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    last?.focus();
    return done;
  }
};
