// @ts-check
/* Draws the charts of a page by the figures that stand in it. The table beside says the same; without this nothing is lost. */

const library = /** @type {HTMLScriptElement} */ (document.querySelector("script[data-uplot]")).dataset.uplot ?? "";
const TONES = ["--brand", "--good", "--warn", "--bad"];
const HEIGHT = 220;
const DAY_S = 86_400;

/** @param {string} name */
const token = (name) => {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color; // `light-dark()` is resolved here, and not in the variable
  probe.remove();
  return colour;
};

/** @param {any} uPlot @param {HTMLElement} place */
function draw(uPlot, place) {
  const { days, lines, digits } = JSON.parse(place.dataset.figures ?? "{}");
  const size = { width: place.clientWidth, height: HEIGHT };
  const scale = 10 ** digits;
  const written = new Intl.NumberFormat("en-CH", { maximumFractionDigits: digits });
  const soft = token("--soft");
  const grid = { stroke: token("--line"), width: 1 };
  const font = "12px Inter, system-ui, sans-serif";
  const plot = new uPlot(
    {
      ...size,
      tzDate: (/** @type {number} */ at) => uPlot.tzDate(new Date(at * 1_000), "Etc/UTC"), // a day is a day, in no zone
      cursor: { y: false },
      scales: { x: { time: true }, y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => [0, max > 0 ? max * 1.08 : 1] } },
      axes: [
        { stroke: soft, grid: { show: false }, ticks: grid, font, space: 64,
          values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((one) => new Date(one * 1_000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" })),
          incrs: [1, 2, 7, 14, 28, 91].map((count) => count * DAY_S) },
        { stroke: soft, grid, ticks: { show: false }, font, size: 72,
          values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map((one) => written.format(one)) },
      ],
      series: [
        { value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at === null ? "–" : new Date(at * 1_000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" })), label: "Day" },
        ...lines.map((/** @type {any} */ line, /** @type {number} */ place_) => ({
          label: line.name,
          stroke: token(TONES[place_ % TONES.length] ?? "--brand"),
          width: 2,
          dash: place_ % 2 ? [6, 4] : undefined, // a shape of its own, not only a colour
          // where values are missing, a line has gaps, and a value between two of them is only a point
          points: { show: days.length < 40 || line.values.includes(null), size: 5 },
          value: (/** @type {any} */ _, /** @type {any} */ __, /** @type {any} */ ___, /** @type {number | null} */ at) => (at === null ? "–" : line.texts[at]),
        })),
      ],
    },
    [
      days.map((/** @type {string} */ day) => Date.parse(`${day}T00:00:00Z`) / 1_000),
      ...lines.map((/** @type {any} */ line) => line.values.map((/** @type {number | null} */ value) => (value === null ? null : value / scale))),
    ],
    place,
  );
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  return plot;
}

const { default: uPlot } = await import(library);
const places = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-figures]")]);
let plots = places.map((place) => draw(uPlot, place));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  plots.forEach((plot) => plot.destroy());
  plots = places.map((place) => draw(uPlot, place));
});
