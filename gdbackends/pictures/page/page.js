// Choose a group of charts; sort, filter, copy and save the table of all rows.
const at = (id) => document.getElementById(id);
// The charts of a group are drawn when it is first shown.
const pick = at("pick");
if (pick) {
  const choices = [...document.querySelectorAll(".choice")];
  choices.forEach((each) => each.querySelectorAll("figure").forEach((figure) => figure.classList.remove("figure")));
  const show = () => {
    choices.forEach((each, k) => each.classList.toggle("away", k !== +pick.value));
    const figures = [...choices[+pick.value].querySelectorAll("figure:not(.figure)")];
    figures.forEach((figure) => figure.classList.add("figure"));
    if (window.draw) window.drawn = Promise.all(figures.map(window.draw));
  };
  pick.addEventListener("change", show);
  show();
}

const numbered = (body) => [...body.rows].map((line, index) => ({ line, index, texts: [...line.cells].map((cell) => cell.textContent) }));
// Sort lines in place by the headings of their table; value(line, column) is a text or a number, and null is always last.
const sortable = (table, lines, value) => [...table.tHead.rows[0].cells].forEach((cell, column, cells) => {
  cell.querySelector("button").addEventListener("click", () => {
    const up = cell.getAttribute("aria-sort") !== "ascending";
    for (const other of cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", up ? "ascending" : "descending");
    lines.sort((a, b) => {
      const [u, v] = [value(a, column), value(b, column)];
      if (u === null || v === null) return (u === null) - (v === null) || a.index - b.index;
      return (up ? 1 : -1) * (typeof u === "string" ? u.localeCompare(v) : u - v) || a.index - b.index;
    });
    table.tBodies[0].append(...lines.map((each) => each.line));
  });
});

const machines = at("machine-table");
if (machines) {
  const isText = [...machines.tHead.rows[0].cells].map((cell) => cell.classList.contains("text"));
  const key = (each, column) => each.line.cells[column].dataset.key;
  sortable(machines, numbered(machines.tBodies[0]), (each, column) =>
    isText[column] ? each.texts[column] : key(each, column) === undefined ? null : +key(each, column));
}

const table = at("table");
const { keys, fields } = JSON.parse(at("data").textContent);
const lines = numbered(table.tBodies[0]);
const isText = [...table.tHead.rows[0].cells].map((cell) => cell.classList.contains("text"));

const plain = (text) => text.toLowerCase().replaceAll(",", "");
for (const each of lines) each.plain = plain(each.texts.join(" "));
const shown = () => lines.filter((each) => !each.line.hidden);
const field = (name, index) => (fields[name].length === 1 ? fields[name][0] : fields[name][index]);

// The sort key of a cell: its field, its text, or the number at the start of its text.
sortable(table, lines, (each, column) => {
  if (keys[column]) return field(keys[column], each.index);
  const text = each.texts[column];
  if (isText[column]) return text;
  const number = parseFloat(text);
  return Number.isNaN(number) ? null : number;
});

const report = (text) => { at("shown").textContent = text; };
const count = () => {
  const rows = shown().length;
  return rows === lines.length ? `${rows} rows` : `${rows} of ${lines.length} rows`;
};
at("filter").addEventListener("input", (event) => {
  const words = plain(event.target.value).split(/\s+/).filter(Boolean);
  for (const each of lines) each.line.hidden = !words.every((word) => each.plain.includes(word));
  report(count());
});

at("copy").addEventListener("click", async () => {
  const head = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const text = [head, ...shown().map((each) => each.texts)].map((cells) => cells.join("\t")).join("\n");
  report((await copied(text)) ? `${count()} copied` : "The browser does not allow this page to copy; download the CSV instead");
});

// Prefix text that a spreadsheet would run as a formula with an apostrophe; numbers are unchanged.
const csv = (cell) => {
  if (cell === null) return "";
  const text = typeof cell === "string" && /^[=+\-@\t\r]/.test(cell) && Number.isNaN(Number(cell)) ? `'${cell}` : String(cell);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
at("save").addEventListener("click", () => {
  const names = Object.keys(fields);
  const rows = shown().map((each) => names.map((name) => csv(field(name, each.index))).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[names.join(","), ...rows].join("\n") + "\n"], { type: "text/csv" }));
  link.download = `${document.title.replace(/[^\w]+/g, "-").replace(/^-|-$/g, "").toLowerCase()}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
  report(`${count()} saved`);
});
