/** The report's look: one column, few sizes, colours that work in both schemes and are never the only sign. */
export const reportStyle = `
:root{color-scheme:light dark;--page:#fbfaf8;--card:#fff;--ink:#1d1c1a;--soft:#625f59;--rule:#e4e1da;--accent:#0b6e5f;--wrong:#a3341f;
--c0:#0b6e5f;--c1:#b4540a;--c2:#5b4bb5;--c3:#a8326e;--c4:#2b6cb0;--c5:#6b6a1f;--tint:#f3f1ec;--high:#e0f0ea;--middle:#f6ecd6;--low:#f7e0da;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){:root{--page:#151617;--card:#1c1e1f;--ink:#ecebe7;--soft:#a5a39c;--rule:#33363a;--accent:#5cc8b0;--wrong:#f0917d;
--c0:#5cc8b0;--c1:#f0a35e;--c2:#a89cf2;--c3:#ee8fbd;--c4:#7db8f0;--c5:#c9c76a;--tint:#24272a;--high:#1d3a33;--middle:#3c3420;--low:#442520}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 var(--sans)}
main{max-width:1040px;margin:0 auto;padding:40px 24px 64px}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--card);padding:8px}
h1,h2,h3,p,ul,ol,figure,pre,blockquote{margin:0}ul,ol{padding:0;list-style:none}
section{margin-top:64px}h2{font-size:22px;font-weight:650;letter-spacing:-.01em;margin-bottom:6px}
h2+p{color:var(--soft);margin-bottom:16px;max-width:68ch}
.brand{font-weight:700;letter-spacing:-.01em;margin-bottom:48px}.brand span{font-weight:400;color:var(--soft);margin-left:8px}
h1{font-size:clamp(30px,9vw,76px);line-height:1.08;font-weight:700;letter-spacing:-.035em;font-variant-numeric:tabular-nums}
h1 .label{display:block;font-size:17px;letter-spacing:0;font-weight:600;color:var(--soft);margin-bottom:8px}
h1 em{font-style:normal;color:var(--accent);white-space:nowrap}h1 .from{color:var(--soft);font-weight:500;white-space:nowrap}h1 .arrow{color:var(--soft);font-weight:300}
.lead{font-size:19px;margin-top:14px;max-width:76ch;text-wrap:pretty}
.factline{display:flex;flex-wrap:wrap;gap:6px 24px;margin-top:24px;padding-top:16px;border-top:1px solid var(--rule);color:var(--soft);font-size:14px}
.chart figcaption{font-size:14px;margin-bottom:8px}.chart figcaption span{color:var(--soft);margin-left:6px}
.bars{margin-top:32px}.bar{display:grid;grid-template-columns:84px 1fr 168px;gap:14px;align-items:center;margin-top:10px}
.bar svg{width:100%;height:30px;display:block}.bar .track{fill:var(--tint)}.bar .fill{fill:var(--accent)}.bar .first{fill:var(--soft)}
.bar .halo{stroke:var(--page);stroke-width:4.5;fill:none}.bar .interval{stroke:var(--ink);stroke-width:1.5;fill:none}.bar .name{font-weight:600;overflow-wrap:anywhere}.bar .value{font-variant-numeric:tabular-nums;white-space:nowrap}.bar small{color:var(--soft);font-size:13px;margin-left:6px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:28px 32px;margin-top:16px}
.charts>.chart:only-child{max-width:504px}
.charts.small{grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr))}
.charts>.chart{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px 16px 12px;min-width:0}
.chart>svg{display:block;width:100%;height:auto;overflow:visible}
.grid{stroke:var(--rule);stroke-width:1}.tick{fill:var(--soft);font:11.5px var(--sans);font-variant-numeric:tabular-nums}
.small .tick{font-size:14px}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.marker{stroke-width:1.2}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1);stroke-dasharray:7 4}.s2{stroke:var(--c2);stroke-dasharray:2 4}.s3{stroke:var(--c3);stroke-dasharray:9 3 2 3}.s4{stroke:var(--c4);stroke-dasharray:12 4}.s5{stroke:var(--c5);stroke-dasharray:4 2}
.marker{stroke-dasharray:none}.marker.s0{fill:var(--c0)}.marker.s1{fill:var(--c1)}.marker.s2{fill:var(--c2)}.marker.s3{fill:var(--c3)}.marker.s4{fill:var(--c4)}.marker.s5{fill:var(--c5)}
.whisker path{stroke:var(--ink);stroke-width:1.5;fill:none}.whisker circle{fill:var(--card);stroke:var(--ink);stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;margin-top:8px}.legend li{display:flex;align-items:center;gap:7px}
.numbers{margin-top:8px;font-size:13px;color:var(--soft)}summary{cursor:pointer}.numbers .scroll{max-height:260px;margin-top:6px}
.scroll{overflow:auto}:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:15px;font-variant-numeric:tabular-nums}.numbers table{font-size:13px}
th,td{text-align:right;padding:9px 12px;border-bottom:1px solid var(--rule);white-space:nowrap}.numbers th,.numbers td{padding:3px 10px}
.above{color:var(--soft);font-size:14px;margin-top:24px}.lessons thead th{white-space:normal;min-width:92px}
th:first-child,td:first-child{text-align:left;padding-left:0}thead th{font-size:13px;font-weight:600;color:var(--soft);vertical-align:bottom}tbody th{font-weight:600}
.causes td{text-align:left}.causes td:last-child{text-align:right}.causes th{text-align:left}.causes th:last-child{text-align:right}.causes .words{white-space:pre-wrap;overflow-wrap:anywhere}
.plays{display:grid;gap:28px;margin-top:16px}
.play{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:24px}
.play h3{font-size:18px;font-weight:650}.play header p{color:var(--soft)}.facts{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:13px;margin-top:4px}code{font-family:var(--mono);font-size:.92em;overflow-wrap:anywhere}
.turn{border-top:1px solid var(--rule);margin-top:18px;padding-top:16px}
.who{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 10px;margin-bottom:8px}.who span{color:var(--soft);font-size:14px}
.who .points{margin-left:auto;color:var(--ink);border-radius:999px;padding:2px 12px;white-space:nowrap}.points b{font-size:16px}.points.high{background:var(--high)}.points.middle{background:var(--middle)}.points.low{background:var(--low)}.points.none{border:1px dashed var(--soft)}
pre{font:13.5px/1.5 var(--mono);white-space:pre-wrap;overflow-wrap:anywhere;max-height:420px;overflow:auto}
.said{background:var(--tint);border-radius:6px;padding:10px 14px}
.tool{margin-top:10px;border-left:3px solid var(--rule);padding-left:12px}.tool p{font-size:13px;color:var(--soft)}
.tree{margin-top:14px;font-size:14px}.tree ol{margin-left:26px}.tree li{margin-top:6px}.tree .points{border-radius:999px;padding:1px 9px}.tree span{color:var(--soft)}.tree small{border:1px solid var(--rule);border-radius:4px;padding:0 6px}
.coach{margin-top:12px;padding-left:12px;border-left:3px solid var(--accent);max-width:80ch}.blame{display:inline-block;border:1px solid var(--wrong);color:var(--wrong);border-radius:4px;padding:0 7px;font-size:13px;margin-left:4px}
.note,.saw{font-size:13px;color:var(--soft);margin-top:10px}.saw pre{margin-top:8px;font-size:12.5px}
.play footer{border-top:1px solid var(--rule);margin-top:18px;padding-top:14px;display:flex;flex-wrap:wrap;gap:6px 16px;align-items:baseline}.play footer span{overflow-wrap:anywhere}
.verdict{font-weight:650;border:1.5px solid currentColor;border-radius:999px;padding:1px 12px}.right{color:var(--accent)}.wrong{color:var(--wrong)}
.config pre{margin-top:12px;background:var(--tint);border-radius:6px;padding:14px}
footer.page{margin-top:64px;padding-top:16px;border-top:1px solid var(--rule);color:var(--soft);font-size:14px}
.alarms li{border-left:3px solid var(--wrong);background:var(--low);padding:10px 14px;border-radius:0 6px 6px 0;margin-bottom:10px;max-width:90ch}.alarms b{color:var(--wrong);margin-right:6px}.calm{color:var(--soft);margin-bottom:10px}
.slices{margin-top:14px}.slices summary{font-weight:600}.by{color:var(--soft);font-weight:400;font-size:13px}td small{color:var(--soft);margin-left:4px}section>h3{font-size:17px;margin:28px 0 4px}
.held{margin-top:32px}.held h1{font-size:clamp(24px,6vw,44px)}
@media (max-width:640px){.tick{font-size:14.5px}main{padding:24px 16px 48px}.brand{margin-bottom:32px}.brand span{display:block;margin:0}section{margin-top:48px}.play{padding:16px}
.bar{grid-template-columns:1fr auto;gap:4px 12px}.bar svg{grid-row:2;grid-column:1/-1;height:22px}th,td{padding:8px}}
@media print{.saw,.numbers{display:none}.play,.chart{break-inside:avoid}}
`;
