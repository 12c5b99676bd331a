"""The page around the pictures: one file, no network, light and dark, wide and narrow.

Invariant: a Content-Security-Policy of the page itself forbids every load, so a picture that wanted one would not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commute.report.markup import element, text

_STYLE = """
:root{--back:#fff;--text:#1b2126;--muted:#5b6670;--line:#dfe4e8;--card:#f6f8f9;--one:#1f6fb2;--two:#c4560f;--three:#2a7f5a;
--bad:#b3261e;--heat:31 111 178;--hot:196 86 15;--shade:#0003}
@media(prefers-color-scheme:dark){:root{--back:#12171b;--text:#e5eaee;--muted:#9aa6b0;--line:#2b343b;--card:#1a2126;
--one:#62b0ee;--two:#f2994f;--three:#63c79a;--bad:#ff8a80;--heat:98 176 238;--hot:242 153 79;--shade:#fff4}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:1040px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;margin:0 0 4px}h2{font-size:1.12rem;margin:40px 0 4px}
p{margin:4px 0 12px}.muted,figcaption{color:var(--muted);font-size:.92rem}
figcaption{white-space:pre-wrap;margin-top:4px}
figure{margin:0}svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--text);paint-order:stroke;stroke:var(--back);stroke-width:3px;stroke-linejoin:round}
svg .muted{fill:var(--muted);font-size:12px}
.scroll{overflow-x:auto;max-width:100%;background:linear-gradient(90deg,var(--back) 40%,transparent) 0/48px 100% local,
linear-gradient(270deg,var(--back) 40%,transparent) 100%/48px 100% local,linear-gradient(90deg,var(--shade),transparent)
0/14px 100%,linear-gradient(270deg,var(--shade),transparent) 100%/14px 100%;background-repeat:no-repeat}
.side{display:flex;flex-wrap:wrap;gap:0 12px}.legend span{white-space:nowrap;margin-right:1.2em;display:inline-block}
.legend i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em}
table{border-collapse:collapse;font-size:.9rem;overflow-wrap:break-word}
table.plain td,table.plain th{padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid var(--line)}
table.heat th{font-weight:400;padding:2px 8px;text-align:left;white-space:nowrap}
table.heat thead th{text-align:center;color:var(--muted)}
table.heat td{width:38px;min-width:38px;height:34px;text-align:center;border:2px solid var(--back);border-radius:4px;
background:var(--card)}
table.heat td:focus{outline:2px solid var(--text)}
@media(max-width:600px){table.heat tbody th{padding:2px 4px;max-width:112px;overflow:hidden;text-overflow:ellipsis}}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:16px 0 8px}
.fact{background:var(--card);border-radius:8px;padding:10px 12px}.fact b{display:block;font-size:1.3rem;font-weight:600}
ol,ul{padding-left:1.3em;margin:8px 0}
#tip{position:fixed;display:none;max-width:min(420px,90vw);background:var(--text);color:var(--back);padding:6px 10px;
border-radius:6px;font-size:.85rem;pointer-events:none;white-space:pre-line;z-index:2}
"""

_SCRIPT = """
const tip=document.getElementById('tip');
for(const t of document.querySelectorAll('svg title')){t.parentNode.dataset.tip=t.textContent;t.remove()}
for(const t of document.querySelectorAll('[title]')){t.dataset.tip=t.title;t.removeAttribute('title')}
const find=e=>e.target.closest&&e.target.closest('[data-tip]');
function show(e){const t=find(e);if(!t){tip.style.display='none';return}
tip.textContent=t.dataset.tip;tip.style.display='block';const b=t.getBoundingClientRect();
const x=Math.min(Math.max(8,b.left),innerWidth-tip.offsetWidth-8);
const y=b.bottom+6+tip.offsetHeight>innerHeight?b.top-tip.offsetHeight-6:b.bottom+6;
tip.style.left=x+'px';tip.style.top=Math.max(4,y)+'px'}
for(const n of['mouseover','focusin','click'])document.addEventListener(n,show);
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class Section:
    """A picture with its heading and what it says; `content` is markup."""

    title: str
    lead: str
    content: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds. `facts` are figures with a name, `sentences` what they mean."""

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    sentences: Sequence[str] = ()

    def html(self) -> str:
        """The page as one file. O(size of its sections)."""
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f"{element('title', text(self.title))}{element('style', _STYLE)}"
        )
        facts = "".join(
            element("div", element("b", text(figure)) + element("span", text(name), class_="muted"), class_="fact")
            for name, figure in self.facts
        )
        parts = [
            element("h1", text(self.title)),
            element("p", text(self.lead), class_="muted"),
            element("div", facts, class_="facts"),
        ]
        if self.sentences:
            parts.append(element("ul", "".join(element("li", text(sentence)) for sentence in self.sentences)))
        parts += [_section(section) for section in self.sections]
        body = element("main", "".join(parts)) + element("div", id="tip", role="status") + element("script", _SCRIPT)
        return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _section(section: Section) -> str:
    note = element("figcaption", text(section.note)) if section.note else ""
    heading = element("h2", text(section.title)) + element("p", text(section.lead), class_="muted")
    return element("section", heading + element("figure", section.content + note))
