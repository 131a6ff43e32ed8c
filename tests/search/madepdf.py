"""Small PDFs, written by hand."""


def pdf_of(*pages):
    """A small PDF with a line of text per page, written by hand."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for text in pages:
        kids.append(f"{len(objects) + 1} 0 R")
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        box = "/MediaBox [0 0 612 792]"
        page = f"<< /Type /Page /Parent 2 0 R {box} /Contents {len(objects) + 2} 0 R /Resources {font} >>"
        objects += [page, f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"]
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    objects.append("<< /Title (The manual) >>")
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = (
        f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    )
    return f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()
