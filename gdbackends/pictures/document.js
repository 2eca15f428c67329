// Draw every figure; the sliders of its first panel move the parameters of the same name in the others.
const config = JSON.parse(document.getElementById("config").textContent);
const rows = (columns) => Object.values(columns)[0].map((_, k) =>
  Object.fromEntries(Object.keys(columns).map((name) => [name, columns[name][k]]).filter(([, value]) => value !== null)));
const parse = (text) => JSON.parse(text, (key, value) => (key === "values" && value.columns ? rows(value.columns) : value));
const shared = { width: "container", autosize: { type: "fit-x", contains: "padding" } };
const draw = async (figure) => {
  const sliders = figure.querySelector(".sliders");
  let moved = [];
  figure.views = [];
  for (const panel of figure.querySelectorAll(".panel")) {
    const spec = { ...parse(panel.querySelector("script").textContent), ...shared };
    const names = (spec.params ?? []).map((parameter) => parameter.name);
    const place = figure.views.length ? {} : { bind: `#${figure.id} .sliders` };
    const options = { actions: false, renderer: "svg", ast: true, config, ...place };
    const { view } = await vegaEmbed(panel.querySelector(".plot"), spec, options);
    for (const name of names.filter((each) => moved.includes(each))) {
      figure.views[0].addSignalListener(name, (_, value) => view.signal(name, value).runAsync());
    }
    moved = figure.views.push(view) > 1 ? moved : names;
  }
  sliders.hidden = !sliders.querySelector("input, select");
};
window.draw = draw;
window.drawn = Promise.all([...document.querySelectorAll("figure.figure")].map(draw));
