// The page works without this file; with it the numbers keep themselves up to date, charts are drawn, and keys are pressed.
"use strict";

(() => {
	const root = document.documentElement;
	const stored = (() => { try { return localStorage.getItem("nearside-theme"); } catch { return null; } })();
	if (stored === "light" || stored === "dark") root.dataset.theme = stored;
	const system = matchMedia("(prefers-color-scheme: dark)");
	const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;

	const $ = id => document.getElementById(id);
	const color = name => getComputedStyle(root).getPropertyValue("--" + name).trim();
	const causes = { c1: "store", c2: "near", c3: "load", c4: "stale", c5: "negative", c6: "error" };
	const dashes = { store: [8, 4], load: [2, 3] }; // of lines; near has none
	const charts = new Map(); // by the id of their section

	// hatched is a color as the areas of a class are filled with it: with the hatch that stands in the page.
	function hatched(look, fill) {
		const path = document.querySelector(`#hatch-${look} path`);
		if (!path) return fill;
		const tile = document.createElement("canvas"), scale = devicePixelRatio;
		tile.width = tile.height = Math.round(6 * scale);
		const c = tile.getContext("2d");
		c.fillStyle = fill;
		c.fillRect(0, 0, tile.width, tile.height);
		c.scale(tile.width / 6, tile.height / 6);
		c.strokeStyle = color("card");
		c.lineWidth = 1.2;
		c.stroke(new Path2D(path.getAttribute("d")));
		return c.createPattern(tile, "repeat");
	}

	// mark is a series as the legend shows it: a piece of its area or of its line.
	function mark(s, stack) {
		const text = stack ? `<svg class="swatch"><rect class="${s.look}"/><rect fill="url(#hatch-${s.look})"/></svg>`
			: `<svg width="26" height="10"><line x2="26" y1="5" y2="5" stroke="${s.color}" stroke-width="${s.width}" stroke-dasharray="${dashes[s.look] || ""}"/></svg>`;
		return new DOMParser().parseFromString(text, "text/html").body.firstChild;
	}

	// read takes the numbers of a chart from its table.
	function read(section) {
		const table = section.querySelector("table.series");
		if (!table) return null;
		const series = [...table.tHead.rows[0].cells].slice(1).map(c => {
			const look = causes[c.dataset.class] || c.dataset.class;
			return { name: c.textContent, look, color: color(look), width: c.dataset.thin === "true" ? 1.2 : 2.6 };
		});
		const rows = [...table.tBodies[0].rows].reverse();
		const x = rows.map(r => Date.parse(r.querySelector("time").dateTime) / 1000);
		const y = series.map((_, i) => rows.map(r => { const v = Number(r.cells[i + 1].dataset.v); return v < 0 ? null : v; }));
		const used = series.map((_, i) => y[i].some(v => v > 0));
		return { series: series.filter((_, i) => used[i]), x, y: y.filter((_, i) => used[i]) };
	}

	// stacked adds each series to those below it. uPlot draws the first series on top, so the highest sum comes first.
	function stacked(y) {
		const sums = [];
		for (const values of y) {
			const below = sums.length ? sums[sums.length - 1] : null;
			sums.push(values.map((v, i) => (v || 0) + (below ? below[i] : 0)));
		}
		return sums.reverse();
	}

	function short(v) {
		if (v == null) return "–";
		const a = Math.abs(v);
		if (a === 0) return "0";
		if (a < 0.01) return v.toExponential(0);
		if (a < 10) return String(+v.toPrecision(2));
		if (a < 1000) return String(Math.round(v));
		if (a < 1e6) return +(v / 1e3).toPrecision(3) + "k";
		return +(v / 1e6).toPrecision(3) + "M";
	}

	function milliseconds(v) {
		if (v == null) return "–";
		if (v < 0.001) return Math.round(v * 1e6) + " ns";
		if (v < 1) return +(v * 1e3).toPrecision(2) + " µs";
		if (v < 1000) return +v.toPrecision(2) + " ms";
		return +(v / 1000).toPrecision(2) + " s";
	}

	// decades leaves of a logarithmic axis the powers of ten.
	const decades = (u, at) => at.map(v => v > 0 && Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6 ? v : null);

	function draw(section) {
		const box = section.querySelector(".plot");
		const data = box && read(section);
		charts.get(section.id)?.destroy();
		charts.delete(section.id);
		if (!data || typeof uPlot === "undefined") return;
		const stack = box.dataset.kind === "stack";
		const form = stack ? short : milliseconds;
		const axis = { stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
		const lone = data.x.length < 2;
		let series = data.series.map((s, i) => ({
			label: s.name, stroke: s.color, width: stack ? 1 : s.width, dash: stack ? undefined : dashes[s.look],
			fill: stack ? () => hatched(s.look, s.color) : undefined, spanGaps: false,
			points: { show: lone, size: 6, fill: s.color },
			value: (_, __, ___, at) => at == null ? form(data.y[i][data.x.length - 1]) : form(data.y[i][at]),
		}));
		let y = data.y;
		if (stack) { y = stacked(data.y); series.reverse(); }
		const chart = new uPlot({
			width: box.clientWidth, height: 200,
			cursor: { y: false, points: { size: 6 } },
			legend: { live: true },
			padding: [8, 22, 0, 0],
			scales: {
				x: { time: true, range: () => [Math.min(data.x[0], data.x.at(-1) - 600), data.x.at(-1)] },
				y: stack ? { range: (u, min, max) => [0, max > 0 ? max * 1.08 : 1] } : { distr: 3, range: (u, min, max) => [Math.pow(10, Math.floor(Math.log10(min || 1e-3))), Math.pow(10, Math.ceil(Math.log10(max || 1)))] },
			},
			axes: [{ ...axis, values: (u, at, _, __, step) => at.map(t => {
				const d = new Date(t * 1000);
				return d.toLocaleTimeString([], step < 60 ? { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false } : { hour: "2-digit", minute: "2-digit", hour12: false });
			}), space: 70, size: 34 }, {
				...axis, size: 62, values: (u, at) => at.map(v => v == null ? "" : form(v)),
				...(stack ? {} : { filter: decades, grid: { ...axis.grid, filter: decades }, ticks: { ...axis.ticks, filter: decades } }),
			}],
			series: [{ label: "time", value: (u, v) => v == null ? "latest" : new Date(v * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }) }, ...series],
		}, [data.x, ...y], box);
		const markers = [...box.querySelectorAll(".u-marker")].slice(1); // the first one is that of the time
		markers.forEach((m, i) => m.replaceChildren(mark(data.series.at(stack ? -1 - i : i), stack)));
		charts.set(section.id, chart);
	}

	const drawAll = () => document.querySelectorAll("section.chart").forEach(draw);

	function local() { // times as this browser's user counts them
		document.querySelectorAll("time.at").forEach(t => {
			t.title = t.dateTime;
			t.textContent = new Date(t.dateTime).toLocaleString();
		});
	}

	// replace shows a section anew, and leaves alone what its reader has done to it: open tables, the place he has scrolled to.
	function replace(id, html) {
		const section = $(id);
		if (!section) return;
		const open = [...section.querySelectorAll("details")].map(d => d.open);
		const scrolled = [...section.querySelectorAll(".scroll")].map(d => [d.scrollLeft, d.scrollTop]);
		const focused = section.contains(document.activeElement) && document.activeElement.getAttribute("href");
		section.innerHTML = html; // of the server's own template, escaped there
		section.querySelectorAll("details").forEach((d, i) => { d.open = !!open[i]; });
		section.querySelectorAll(".scroll").forEach((d, i) => { if (scrolled[i]) [d.scrollLeft, d.scrollTop] = scrolled[i]; });
		if (focused) [...section.querySelectorAll("a")].find(a => a.getAttribute("href") === focused)?.focus();
		if (section.classList.contains("chart")) draw(section);
		if (id === "caches") { find(); select(0); }
	}

	let source = null, paused = false;
	function trouble(text) { $("trouble").textContent = text; $("trouble").hidden = !text; }
	function live() {
		if (document.body.dataset.live !== "true" || paused || source) return;
		source = new EventSource(location.href);
		source.onmessage = e => {
			const news = JSON.parse(e.data);
			trouble(news.trouble);
			for (const s of news.sections) replace(s.id, s.html);
			if (news.trouble) return;
			document.querySelector("footer time").dateTime = new Date().toISOString();
			local();
		};
		source.onerror = () => trouble("The connection to this page's server is lost. It is tried again by itself.");
	}
	function still() { source?.close(); source = null; }
	function pause() {
		const button = $("pause");
		if (!button) return;
		paused = !paused;
		button.setAttribute("aria-pressed", paused);
		button.textContent = paused ? "paused" : "live";
		paused ? still() : live();
	}

	function theme() {
		root.dataset.theme = dark() ? "light" : "dark";
		try { localStorage.setItem("nearside-theme", root.dataset.theme); } catch { /* it is of this page then */ }
		drawAll();
	}

	let row = -1; // that is selected, of the table of caches or else the first one
	const rows = () => [...(document.querySelector("#caches tbody") || document.querySelector("main section:not(.chart) tbody") || { rows: [] }).rows].filter(r => !r.hidden);
	function select(step) {
		const all = rows();
		if (!all.length || row < 0 && !step) return;
		row = Math.max(0, Math.min(all.length - 1, row + step));
		all.forEach((r, i) => i === row ? r.setAttribute("aria-selected", "true") : r.removeAttribute("aria-selected"));
		if (step) all[row].scrollIntoView({ block: "nearest" });
	}

	function find() {
		const text = ($("find")?.value || "").toLowerCase();
		document.querySelectorAll("#caches tbody tr").forEach(r => { r.hidden = text !== "" && !(r.dataset.name || "").toLowerCase().includes(text); });
	}

	function addFind() {
		const section = $("caches");
		if (!section || !section.querySelector("tbody")) return;
		const box = document.createElement("input");
		Object.assign(box, { id: "find", type: "search", placeholder: "Find a cache  /" });
		box.setAttribute("aria-label", "Find a cache by a part of its name");
		box.addEventListener("input", () => { row = -1; find(); });
		box.addEventListener("keydown", e => { if (e.key === "Escape") { box.value = ""; find(); box.blur(); } });
		const frame = document.createElement("div"); // outside of what is shown anew
		frame.className = "card";
		section.classList.remove("card");
		section.replaceWith(frame);
		frame.append(box, section);
		frame.classList.add("whole");
	}

	const go = path => { location.href = document.querySelector(".brand").href + path; };
	const actions = {
		j: () => select(1), k: () => select(-1), p: pause, t: theme, o: () => go(""), m: () => go("members"), r: () => go("redis"),
		"/": () => $("find")?.focus(), "?": () => $("help").showModal(),
		Enter: () => { if (row >= 0) rows()[row]?.querySelector("a")?.click(); },
	};
	addEventListener("keydown", e => {
		if (e.ctrlKey || e.metaKey || e.altKey || $("help").open || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) return;
		if (e.key === "Enter" && e.target !== document.body && e.target.id !== "main") return;
		const act = actions[e.key];
		if (act) { e.preventDefault(); act(); }
	});

	addEventListener("DOMContentLoaded", () => {
		for (const [id, act] of [["pause", pause], ["theme", theme], ["keys", () => $("help").showModal()]]) {
			const button = $(id);
			if (button) { button.hidden = false; button.addEventListener("click", act); }
		}
		document.querySelectorAll("section.chart details").forEach(d => { d.open = false; });
		addFind();
		local();
		drawAll();
		live();
		let timer;
		addEventListener("resize", () => {
			clearTimeout(timer);
			timer = setTimeout(() => charts.forEach((c, id) => { const w = $(id).querySelector(".plot").clientWidth; if (w !== c.width) c.setSize({ width: w, height: 200 }); }), 100);
		});
		system.addEventListener("change", drawAll);
		// Nothing is read for a page that nobody sees.
		document.addEventListener("visibilitychange", () => document.hidden ? still() : live());
	});
	addEventListener("pagehide", still);
})();
