#pragma once

#include <string_view>

namespace attune::detail {

/// The page's style sheet: light and dark, on paper without shadows.
inline constexpr std::string_view report_style = R"(
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2430; --soft: #667085;
  --line: #e4e7ec;
  --accent: 37, 99, 235; --c0: #2563eb; --c1: #ea580c; --c2: #059669; --c3: #9333ea; --c4: #ca8a04;
  --c5: #db2777; }
@media (prefers-color-scheme: dark) { :root { --page: #11151c; --card: #1a202b; --text: #e6e9ef;
  --soft: #98a2b3;
  --line: #2c3442; --accent: 96, 150, 255; --c0: #6096ff; --c1: #fb923c; --c2: #34d399; --c3: #c084fc;
  --c4: #facc15;
  --c5: #f472b6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; margin: 0 0 20px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 12px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  margin: 0 0 20px; break-inside: avoid; }
.results { display: flex; flex-wrap: wrap; gap: 12px; margin: 0 0 20px; }
.results div { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 20px;
  min-width: 130px; }
.results b { display: block; font-size: 26px; font-weight: 650; font-variant-numeric: tabular-nums; }
.results span, .note { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 20px; }
.charts section { margin: 0; }
.charts + * { margin-top: 20px; }
.legend { float: right; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 3px; border-radius: 2px; margin: 0 6px 3px 14px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg path { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg path.pale { opacity: 0.28; stroke-width: 1; }
svg line.grid { stroke: var(--line); } svg line.axis { stroke: var(--soft); opacity: 0.6; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
.c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
circle { fill: var(--card); stroke-width: 2; }
.b0 { background: var(--c0); } .b1 { background: var(--c1); } .b2 { background: var(--c2); }
.b3 { background: var(--c3); } .b4 { background: var(--c4); } .b5 { background: var(--c5); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 8px 10px; border-top: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: nowrap; border-top: 0; }
.facts th { border-top: 1px solid var(--line); width: 1%; } .facts tr:first-child > * { border-top: 0; }
td { overflow-wrap: anywhere; }
.matrix { width: auto; }
.matrix th, .matrix td { text-align: center; border: 0; padding: 6px 12px; }
.matrix td { min-width: 64px; border: 2px solid var(--card); border-radius: 8px;
  font-variant-numeric: tabular-nums; }
.matrix th[scope=row] { text-align: right; } .matrix small { display: block; opacity: 0.75; }
.matrix td.strong { color: #fff; }
.mistakes .note { white-space: nowrap; }
.mistakes td { min-width: 90px; } .mistakes td:last-child { width: 70%; white-space: pre-wrap; }
.meter { height: 4px; border-radius: 2px; background: var(--line); margin-top: 4px; width: 90px; }
.meter i { display: block; height: 100%; border-radius: 2px; background: var(--c1); }
.pair { display: block; border-left: 3px solid var(--line); padding-left: 8px; margin-top: 6px;
  color: var(--soft); }
@media print { body { background: #fff; } }
)";

}  // namespace attune::detail
