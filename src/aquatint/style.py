"""The look of a report: a quiet printed page, light or dark as the reader's system is."""

CSS = """
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#1f262b;--soft:#636c74;--rule:#e2ded4;
 --panel:#f3f0e9;--training:#2a6a8c;--validation:#b3541e;--faint:.28}
@media (prefers-color-scheme:dark){:root{
 --paper:#15181b;--ink:#e3e0d9;--soft:#9aa2a9;--rule:#2e3338;--panel:#1d2125;--training:#76b7d9;--validation:#e59866;--faint:.42}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;
 font-variant-numeric:tabular-nums lining-nums;overflow-wrap:break-word}
main{max-width:58rem;margin:0 auto;padding:3.5rem 1.5rem 4rem}
h1,h2{font-family:"Iowan Old Style","Palatino Linotype",Palatino,Charter,Georgia,"Noto Serif","DejaVu Serif",serif;
 font-weight:500;line-height:1.2;margin:0}
h1{font-size:2.4rem;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:0 0 1rem}
section{margin-top:2.6rem;padding-top:1.6rem;border-top:1px solid var(--rule)}
p{margin:.6rem 0;max-width:44rem}
p code{font-size:.92em}
.lead{font-size:1.15rem;margin-top:.7rem}
.soft,figcaption,.step{color:var(--soft);font-size:.86rem}
.warning{border-left:3px solid var(--validation);padding-left:.8rem}
.seed{white-space:nowrap}
.keys{font-size:.86rem;color:var(--soft);margin-bottom:.8rem}
figure{margin:0}
figcaption{margin-top:.5rem}
img{display:block;max-width:100%;height:auto;border-radius:3px;background:var(--panel)}
.tiny{image-rendering:pixelated}
.chart{display:block;width:100%;height:auto;overflow:visible}
.chart+.chart{margin-top:1.4rem}
.narrow{display:none}
.chart text{font-size:12px;fill:var(--soft)}
.chart .title{fill:var(--ink);font-size:13px}
.grid{stroke:var(--rule);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dots{fill:none;stroke-width:3;stroke-linecap:round;opacity:var(--faint)}
path.training{stroke:var(--training)}
path.validation{stroke:var(--validation)}
circle.validation{fill:var(--validation)}
path.rate{stroke:var(--soft);stroke-width:1.5}
.key{display:inline-block;width:1.1em;height:.2em;border-radius:1em;vertical-align:.25em;margin:0 .45em 0 0;background:var(--training)}
.key+span{margin-right:1.4em}
.key.validation,.key.after{background:var(--validation)}
.key.dot{width:.35em;height:.35em;opacity:.45;vertical-align:.15em}
table{border-collapse:collapse;width:100%}
th,td{text-align:right;font-weight:400;padding:.55rem .7rem;border-bottom:1px solid var(--rule);vertical-align:middle}
th:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-size:.86rem}
td small{display:block;color:var(--soft);font-size:.8rem;white-space:nowrap}
.intervals{width:160px;height:32px;display:block;margin-left:auto}
.interval{stroke-width:3;stroke-linecap:round;opacity:.5}
path.before{stroke:var(--soft)}circle.before{fill:var(--soft)}
path.after{stroke:var(--validation)}circle.after{fill:var(--validation)}
.key.before{background:var(--soft)}
.row{margin-top:1.4rem}
.row>p{margin:0 0 .5rem}
.strip{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(88px,11rem);gap:.5rem;max-width:100%;overflow-x:auto}
.strip img{width:100%;aspect-ratio:1;object-fit:contain}
.strip .none{aspect-ratio:1;border:1px dashed var(--rule);border-radius:3px}
.step{text-align:center;margin-top:.25rem}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1.3rem 1.5rem;margin:0}
dt{color:var(--soft);font-size:.86rem}
dd{margin:0;font-size:1.3rem;line-height:1.3}
dd small{font-size:.86rem;color:var(--soft)}
ul{padding-left:1.1rem;margin:.6rem 0}
li{margin:.25rem 0}
pre{background:var(--panel);border-radius:4px;padding:1rem 1.1rem;overflow-x:auto;
 font:.84rem/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
summary{cursor:pointer;color:var(--soft)}
summary h2{display:inline;color:var(--ink)}
footer{margin-top:3rem;color:var(--soft);font-size:.86rem}
@media (max-width:640px){
 main{padding:2rem 1rem 3rem}h1{font-size:1.8rem}
 .wide{display:none}.narrow{display:block}
 .shape{display:none}th,td{padding:.5rem .35rem}td:last-child{padding-right:0}
 dl{grid-template-columns:repeat(auto-fill,minmax(7.5rem,1fr))}
}
@media print{body{background:none}section{break-inside:avoid}}
"""
