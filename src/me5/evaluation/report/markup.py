"""Elements of a page: text is always escaped, by the standard library's own serializer."""

from xml.etree import ElementTree

Node = ElementTree.Element
Child = Node | str | None


def element(tag: str, *children: Child, **attributes: object) -> Node:
    """An element with its children. `class_` and `for_` lose the underscore, `stroke_width` becomes `stroke-width`."""
    named = {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items() if value is not None}
    node = ElementTree.Element(tag, named)
    last: Node | None = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                node.text = (node.text or "") + child
            else:
                last.tail = (last.tail or "") + child
        elif child is not None:
            node.append(child)
            last = child
    return node


def text(content: str, tag: str = "span", **attributes: object) -> Node:
    """Text from the data, in its own direction: right to left where its first letter is."""
    return element(tag, content, dir="auto", **attributes)


def html(node: Node) -> str:
    """The element as HTML."""
    return ElementTree.tostring(node, encoding="unicode", method="html")


def xml(node: Node) -> str:
    """The element as XML, for a file of its own."""
    return ElementTree.tostring(node, encoding="unicode")
