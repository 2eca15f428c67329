// Draws every figure; the sliders of its first panel move the parameters of the same name in the others.
const draw = async (figure) => {
  const sliders = figure.querySelector(".sliders");
  let moved = [];
  figure.views = [];
  for (const panel of figure.querySelectorAll(".panel")) {
    const spec = JSON.parse(panel.querySelector("script").textContent);
    const names = (spec.params ?? []).map((parameter) => parameter.name);
    const place = figure.views.length ? {} : { bind: `#${figure.id} .sliders` };
    const options = { actions: false, renderer: "svg", ast: true, ...place };
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
