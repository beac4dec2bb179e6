"""How the stand-in's pages look: plain HTML that works without script, in light and dark, by keyboard alone."""

from html import escape

from starlette.responses import HTMLResponse, Response

_STYLE = """
:root { color-scheme: light dark; --line: #8888; --good: #0a6b3d; --bad: #9b1c1c; }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  font: 1rem/1.5 system-ui, sans-serif; }
main { width: min(26rem, 100%); padding: 1.5rem; border: 1px solid var(--line); border-radius: .75rem; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
p { margin: 0 0 1rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0 0 1.5rem; }
dt { opacity: .75; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
table { width: 100%; border-collapse: collapse; margin: 0 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .375rem 0; border-bottom: 1px solid var(--line);
  font-weight: inherit; overflow-wrap: anywhere; }
td { text-align: right; white-space: nowrap; padding-left: 1rem; font-variant-numeric: tabular-nums; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
form { display: grid; gap: .75rem; }
label { display: grid; gap: .25rem; }
select, input { font: inherit; width: 100%; min-height: 2.75rem; padding: .25rem .75rem; border-radius: .5rem;
  border: 1px solid var(--line); color: inherit; background: Canvas; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; border-radius: .5rem; cursor: pointer;
  border: 2px solid transparent; color: #fff; background: var(--good); }
button[value=fail] { color: inherit; background: none; border-color: var(--bad); }
a { color: inherit; }
.back { margin: 1rem 0 0; }
[role=alert] { padding: .5rem .75rem; border: 2px solid var(--bad); border-radius: .5rem; }
:is(button, select, input, a):focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
"""


def page(content: str, *, title: str, status: int = 200) -> Response:
    """Return a page; `content` is HTML, `title` text."""
    document = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>
{content}
</main></body></html>"""
    return HTMLResponse(document, status_code=status, headers={"Cache-Control": "no-store"})


def message(title: str, text: str, *, status: int) -> Response:
    """Return a page that only says something."""
    return page(f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>", title=f"{title} (test)", status=status)
