"""The constant code of error pages: style, script, and the frame around the content."""

from __future__ import annotations

import base64
import hashlib
from html import escape

STYLE = """
:root { color-scheme: light dark; --text: #1d2329; --quiet: #5b6670; --paper: #fff; --card: #f7f8f9; --line: #d9dee3; --link: #1556a8;
  --sub: #fff0c2; --subline: #9a6700; --del: #ffdcd8; --delline: #b3261e; --ins: #d8e9ff; --insline: #1556a8; }
@media screen and (prefers-color-scheme: dark) { :root { --text: #e3e7ea; --quiet: #9aa5af; --paper: #15191d; --card: #1d2328;
  --line: #343d45; --link: #8ab8f5; --sub: #4a3a0c; --subline: #e0b23e; --del: #561f1b; --delline: #ff9c92; --ins: #17365c;
  --insline: #8ab8f5; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html:not(.js) .script { display: none; }
body { margin: 0 auto; padding: 1.25rem; max-width: 68rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--text);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.125rem; margin: 2rem 0 .5rem; }
h3 { font-size: .9375rem; margin: 0; }
p { margin: 0 0 .25rem; }
main > header p, .told, article header p, small, .none, dt, output { color: var(--quiet); font-size: .875rem; }
a { color: var(--link); }
nav { display: flex; gap: 1rem; margin-top: .75rem; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: start; font-size: .9375rem;
  overflow-wrap: break-word; }
thead th { font-weight: 400; color: var(--quiet); font-size: .875rem; }
td small { white-space: nowrap; }
summary { cursor: pointer; padding: .25rem 0; }
.lists { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .5rem 2rem; padding: .25rem 0 1rem; }
ol { list-style: none; margin: .25rem 0 0; padding: 0; font-variant-numeric: tabular-nums; }
li { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); padding: .15rem 0; }
li button { all: unset; }
.js li button { color: var(--link); cursor: pointer; }
.js li button:focus-visible { outline: 2px solid var(--link); }
form { display: flex; flex-wrap: wrap; gap: .5rem .75rem; align-items: end; padding: .75rem 0; background: var(--paper); }
label { display: flex; flex-direction: column; font-size: .875rem; color: var(--quiet); min-width: 0; }
label.wide { flex: 1 1 14rem; }
select, input, form button { font: inherit; font-size: 1rem; color: var(--text); background: var(--card); border: 1px solid var(--line);
  border-radius: .375rem; padding: .3rem .5rem; min-height: 2.25rem; max-width: 100%; }
output { flex-basis: 100%; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; margin: 0 0 .75rem;
  content-visibility: auto; contain-intrinsic-size: auto 9rem; }
article header { display: flex; flex-wrap: wrap; gap: .1rem .75rem; align-items: center; margin-bottom: .25rem; }
article header h3 { flex: 0 1 auto; }
article header p { flex: 1 1 8rem; margin: 0; }
audio { height: 2.25rem; width: 19rem; max-width: 100%; }
section[data-target] { border-top: 1px solid var(--line); padding-top: .4rem; margin-top: .4rem; }
.told { margin: 0; }
.aligned { line-height: 1.9; }
.legend { margin-bottom: .75rem; }
.aligned > span { display: inline-grid; grid-template-rows: 1.45em 1.45em; line-height: 1.45; vertical-align: middle; text-align: center;
  max-width: 100%; margin: .1rem 0; }
.aligned > .s { grid-template-rows: auto auto; }
del, ins { text-decoration: none; padding: 0 .25em; }
del { grid-row: 1; border-radius: .25rem .25rem 0 0; }
ins { grid-row: 2; border-radius: 0 0 .25rem .25rem; }
.s > * { background: var(--sub); }
.s > del { border-bottom: 1px dashed var(--subline); }
.s > ins { font-style: italic; }
.d > *, .i > * { border-radius: .25rem; }
.d > del { background: var(--del); text-decoration: line-through; text-decoration-color: var(--delline); }
.i > ins { background: var(--ins); text-decoration: underline; text-decoration-color: var(--insline); }
u { text-decoration: underline 2px var(--subline); text-underline-offset: .15em; }
dl { display: grid; grid-template-columns: 1fr 1fr; gap: .25rem 1.5rem; margin: .25rem 0; }
dd { margin: 0; }
.hypothesis:empty::after { content: "(empty)"; color: var(--quiet); }
@media (min-width: 45rem) and (min-height: 30rem) { form { position: sticky; top: 0; z-index: 1; border-bottom: 1px solid var(--line); } }
@media (max-width: 45rem) {
  body { padding: .75rem; }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  th, td { border: 0; padding: .1rem 0; overflow-wrap: anywhere; }
  th[scope=row] { grid-column: 1 / -1; }
  td:empty { display: none; }
  td::before { content: attr(data-label) " "; color: var(--quiet); font-size: .875rem; }
  td small { display: block; }
  dl { grid-template-columns: 1fr; }
  label { flex: 1 1 40%; }
  audio { width: 100%; }
}
@media print {
  form, nav, audio, .none { display: none !important; }
  body { max-width: none; padding: 0; font-size: .75rem; }
  th, td { font-size: .75rem; padding-inline-end: .5rem; }
  article { content-visibility: visible; break-inside: avoid; background: none; }
  del, ins { print-color-adjust: exact; }
}
"""

SCRIPT = """
"use strict";
document.documentElement.classList.add("js");
const form = document.querySelector("form"), list = document.getElementById("list"), field = form.elements;
const cards = Array.from(list.children, (node, order) => ({
  node, order, set: node.dataset.set, seconds: Number(node.dataset.seconds), id: node.querySelector("h3").textContent,
  answers: Array.from(node.querySelectorAll("section"), (part) => ({node: part, ...part.dataset})),
}));

// what the text filter looks into, read when it is first used: both texts, and every error as "reference → hypothesis"
function texts(answer) {
  if (answer.texts) return answer.texts;
  const line = answer.node.querySelector(".aligned"), swaps = [];
  let reference = "", hypothesis = "";
  if (line) {
    for (const piece of line.childNodes) {
      const [left, right] = piece.nodeType === Node.TEXT_NODE ? [piece.data, piece.data]
        : ["del", "ins"].map((name) => piece.querySelector(name)?.textContent ?? "");
      reference += left;
      hypothesis += right;
      if (piece.nodeType !== Node.TEXT_NODE) swaps.push(`${left} → ${right}`.trim().toLowerCase());
    }
  } else {
    [reference, hypothesis] = Array.from(answer.node.querySelectorAll("dd"), (part) => part.textContent);
  }
  answer.texts = {swaps, plain: [reference, hypothesis].map((text) => text.replace(/\\s+/g, " ").toLowerCase())};
  return answer.texts;
}

function matches(card, answer, wanted) {
  if (!wanted) return true;
  if (wanted.includes("→")) return texts(answer).swaps.includes(wanted);
  return card.id.toLowerCase().includes(wanted) || texts(answer).plain.some((text) => text.includes(wanted));
}

function measure(card) {
  const sum = (name) => card.seen.reduce((total, answer) => total + Number(answer[name] ?? 0), 0);
  card.wrong = card.seen.some((answer) => "errors" in answer) ? sum("errors") : -1;
  card.rate = card.wrong < 0 ? -1 : card.wrong / Math.max(1, sum("tokens"));
  card.chrf = Math.min(...card.seen.map((answer) => Number(answer.chrf ?? 101)));
}

const orders = {
  errors: (a, b) => b.wrong - a.wrong || b.rate - a.rate,
  rate: (a, b) => b.rate - a.rate || b.wrong - a.wrong,
  chrf: (a, b) => a.chrf - b.chrf,
  longest: (a, b) => b.seconds - a.seconds,
  shortest: (a, b) => a.seconds - b.seconds,
  id: () => 0,
};

function update() {
  const [set, target, search] = ["set", "target", "search"].map((name) => field[name].value);
  const wanted = field.text.value.trim().replace(/\\s+/g, " ").toLowerCase();
  const fits = (answer) => (!target || answer.target === target) && (!search || answer.search === search);
  const shown = [];
  for (const card of cards) {
    card.seen = !set || card.set === set ? card.answers.filter(fits) : [];
    for (const answer of card.answers) answer.node.hidden = !card.seen.includes(answer);
    card.node.hidden = !card.seen.some((answer) => matches(card, answer, wanted));
    if (!card.node.hidden) {
      measure(card);
      shown.push(card);
    }
  }
  shown.sort((a, b) => orders[field.sort.value](a, b) || a.order - b.order);
  const nodes = shown.map((card) => card.node), there = cards.length === nodes.length ? Array.from(list.children) : [];
  if (nodes.some((node, place) => node !== there[place])) list.append(...nodes);
  for (const part of document.querySelectorAll("details")) part.hidden = !(fits(part.dataset) && (!set || part.dataset.set === set));
  const confused = document.getElementById("confused");
  if (confused) confused.hidden = !document.querySelector("details:not([hidden])");
  form.querySelector("output").textContent = `${shown.length} of ${cards.length} utterances`;
}

let waiting;
for (const kind of ["input", "change"]) form.addEventListener(kind, () => {
  clearTimeout(waiting);
  waiting = setTimeout(update, 150);
});
form.addEventListener("reset", () => setTimeout(update));
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("click", (event) => {
  const button = event.target.closest("li button");
  if (!button) return;
  field.text.value = button.textContent;
  field.set.value = button.closest("details").dataset.set;
  update();
  form.scrollIntoView();
  field.text.focus({preventScroll: true});
});
const nearby = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    const player = target.querySelector("noscript");
    player?.insertAdjacentHTML("afterend", player.textContent);
  }
}, {rootMargin: "1000px"});
for (const card of cards) nearby.observe(card.node);
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
update();
"""

NAVIGATION = '<nav><a href="#totals">Totals</a> <a href="#confused">Most confused</a> <a href="#utterances">Utterances</a></nav>'
FOOT = f"</div></section></main><script>{SCRIPT}</script></body></html>\n"


def head(title: str) -> str:
    """The beginning of a page, up to its content. Its policy lets a browser load recordings only, and run SCRIPT only."""
    policy = f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; media-src 'self' file: data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}; base-uri 'none'; form-action 'none'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>\n"
    )


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
