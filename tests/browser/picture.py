"""Make the picture of the try-it page that README and docs show.

    python tests/browser/picture.py [FILE]

The page itself, of the bundled model, in Chromium: light, 1280 pixels wide, with the example that crosses languages, in
256 colours, which nobody can tell apart and which take a third of the bytes.
"""

import io
import sys
from pathlib import Path

from pagetab import Tab
from PIL import Image
from playwright.sync_api import sync_playwright
from served import launch, served

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "try-it.png"
SIZE = {"width": 1280, "height": 1250}


def main() -> None:
    """Take the picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    with served() as site, sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        tab = Tab(page, site).open().example("Search across languages")
        page.get_by_role("button", name="Remove query 3").click()
        # Once more, now that the engine is warm.
        tab.go()
        page.get_by_role("button", name="Dismiss").click()
        page.mouse.move(0, 0)
        page.evaluate("() => document.activeElement.blur()")
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
