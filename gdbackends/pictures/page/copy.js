// Copy a text; execCommand is for browsers that deny the clipboard API to pages opened from disk.
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
