"use strict";
// Sorting, filtering and the form of one cell; everything else on the page stands without it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const board = by("board"), body = board.tBodies[0], rows = [...body.rows];
  const heads = [...board.tHead.rows[0].cells], heat = [...by("heat").rows];
  const heatRows = new Map(heat.slice(1).map((row) => [row.dataset.s, row]));
  const first = new Map(rows.map((row) => [row, [...row.cells].map((c) => [c.innerHTML, c.dataset.v, c.className])]));
  const AT = { place: 1, mean: 3, gain: 4, low: 5, claim: 6, p: 7, wins: 8, negative: 9, rank: 10, missing: 11, seconds: 12 };

  // sorting
  const value = (cell, text) => {
    const raw = cell.dataset.v ?? cell.textContent.trim();
    if (raw === "" || raw === "–") return null;
    return text ? raw.toLowerCase() : Number(raw);
  };
  let order = null; // [column, direction], null: as it came
  const sort = () => {
    const sorted = [...rows];
    if (order) {
      const [column, direction] = order, text = heads[column].dataset.sort === "text";
      const sign = direction === "ascending" ? 1 : -1;
      sorted.sort((a, b) => {
        const x = value(a.cells[column], text), y = value(b.cells[column], text);
        if (x === null || y === null) return (x === null) - (y === null); // missing ones are last
        return sign * (text ? x.localeCompare(y) : x - y);
      });
    }
    body.append(...sorted);
    by("heat").tBodies[0].append(...sorted.map((row) => heatRows.get(row.dataset.s)));
    heads.forEach((head, i) => {
      if (order && order[0] === i) head.setAttribute("aria-sort", order[1]);
      else head.removeAttribute("aria-sort");
    });
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    const start = head.dataset.first || (head.dataset.sort === "text" ? "ascending" : "descending");
    button.addEventListener("click", () => {
      const turned = order && order[0] === i && order[1] === start;
      order = [i, turned ? (start === "ascending" ? "descending" : "ascending") : start];
      sort();
    });
  });

  // numbers of some tasks
  const fixed = (x) => (x === null ? "–" : x.toFixed(data.digits));
  const signed = (x) => (x === null ? "–" : (x < 0 ? "" : "+") + x.toFixed(data.digits));
  const average = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
  const put = (cell, text, v, name = "") => {
    cell.textContent = text;
    cell.dataset.v = v ?? "";
    cell.className = name;
  };
  const restore = () => first.forEach((cells, row) => cells.forEach(([html, v, name], i) => {
    const cell = row.cells[i];
    cell.innerHTML = html;
    cell.className = name;
    if (v === undefined) delete cell.dataset.v; else cell.dataset.v = v;
  }));
  const compute = (chosen) => {
    const gains = new Map();
    for (const row of rows) {
      const s = Number(row.dataset.s), pick = (table) => chosen.map((t) => table[s][t]).filter((x) => x !== null);
      const sum = (table) => pick(table).reduce((a, b) => a + b, 0);
      const mean = average(pick(data.mean)), each = pick(data.gain), gain = average(each);
      const wins = each.filter((g) => g > 0).length, losses = each.filter((g) => g < 0).length;
      const c = row.cells, floor = row.classList.contains("floor");
      put(c[AT.mean], fixed(mean), mean);
      if (!floor) {
        put(c[AT.gain], signed(gain), gain, gain > 0 ? "up" : gain < 0 ? "down" : "");
        put(c[AT.wins], `${wins} / ${each.length - wins - losses} / ${losses}`, wins - losses);
        const share = each.length ? losses / each.length : null;
        put(c[AT.negative], share === null ? "–" : `${Math.round(100 * share)} %`, share);
        for (const i of [AT.low, AT.p]) put(c[i], "–", null);
        put(c[AT.claim], "–", null, "text");
      }
      put(c[AT.rank], "–", null);
      const missing = sum(data.missing);
      put(c[AT.missing], missing || "–", missing, missing ? "bad" : "");
      const seconds = sum(data.seconds);
      put(c[AT.seconds], seconds.toFixed(seconds < 100 ? 1 : 0), seconds);
      if (!("oracle" in row.dataset) && mean !== null) gains.set(row, gain ?? -Infinity);
    }
    for (const row of rows) put(row.cells[AT.place], "–", null);
    [...gains].sort((a, b) => b[1] - a[1]).forEach(([row], i) => put(row.cells[AT.place], i + 1, i + 1));
  };

  // filters
  const boxes = [...document.querySelectorAll("#task-filter input")];
  const shows = (row) => {
    const family = by("family") ? by("family").value : "";
    return row.cells[0].textContent.toLowerCase().includes(by("find").value.trim().toLowerCase())
      && (!family || row.dataset.family === family)
      && !(by("no-oracle").checked && "oracle" in row.dataset)
      && !(by("no-few").checked && "few" in row.dataset);
  };
  const filter = () => {
    let shown = 0;
    for (const row of rows) {
      const show = shows(row);
      row.hidden = heatRows.get(row.dataset.s).hidden = !show;
      shown += show;
    }
    const tasks = boxes.filter((b) => b.checked).length;
    by("shown").textContent = `${shown} of ${rows.length} strategies, ${tasks} of ${boxes.length} tasks`;
  };
  const tasksChanged = () => {
    const chosen = boxes.flatMap((b, i) => (b.checked ? [i] : []));
    if (chosen.length === boxes.length) restore(); else compute(chosen);
    for (const row of heat) boxes.forEach((b, i) => { row.cells[i + 1].hidden = !b.checked; });
    sort();
    filter();
  };
  const every = (checked) => { boxes.forEach((b) => { b.checked = checked; }); tasksChanged(); };
  for (const id of ["find", "family", "no-oracle", "no-few"]) by(id)?.addEventListener("input", filter);
  boxes.forEach((b) => b.addEventListener("change", tasksChanged));
  by("every").addEventListener("click", () => every(true));
  by("nothing").addEventListener("click", () => every(false));
  by("reset").addEventListener("click", () => {
    by("find").value = "";
    if (by("family")) by("family").value = "";
    by("no-oracle").checked = by("no-few").checked = false;
    order = null;
    every(true);
  });

  // one cell
  const WORDS = { o: "ran", f: "failed", t: "timed out", r: "was refused: it is not for this task", m: "was not run yet", "-": "is not in the study" };
  const tell = () => {
    const s = Number(by("cell-strategy").value), place = Number(by("cell-task").value) * data.seeds.length + Number(by("cell-seed").value);
    const status = data.status[s][place], key = data.keys[s][place], took = data.took[s][place];
    const scores = Object.entries(data.scores).filter(([, x]) => x[s][place] !== null).map(([name, x]) => `${name} ${x[s][place]}`);
    const time = status === "o" && took !== null ? ` in ${took} s` : "";
    const more = data.left_out.length ? `; results.json has ${data.left_out.join(", ")}` : "";
    by("cell-said").textContent = `This cell ${WORDS[status]}${time}${scores.length ? ": " + scores.join(", ") : ""}${more}.`
      + (key ? "" : " It has no key, so there is nothing to run.");
    by("command").textContent = `${by("command").dataset.command} ${key || "KEY"}`;
    by("copy").disabled = !key;
  };
  for (const id of ["cell-strategy", "cell-task", "cell-seed"]) by(id).addEventListener("input", tell);
  by("cell").addEventListener("submit", (event) => event.preventDefault());
  by("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(by("command").textContent);
    } catch { // a page from a file may not be allowed to: the selection can be copied by hand
      getSelection().selectAllChildren(by("command"));
      document.execCommand("copy");
    }
    by("copy").textContent = "Copied";
    setTimeout(() => { by("copy").textContent = "Copy"; }, 1500);
  });

  for (const id of ["filters", "task-filter", "cell", "copy"]) by(id).hidden = false;
  filter();
  if (data.strategies.length && data.tasks.length) tell();
})();
