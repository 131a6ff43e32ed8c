"""What goes over the wire: one file per dialect, thin over one shared core.

    routing   key, body, JSON, route; every error in the dialect's words (`dialects`)
    reading   model name, side, task, texts: the fields that all dialects share
    call      one HTTP request: fields -> `Inputs`, and the pipeline's answers until the caller hangs up
    writing   vectors -> JSON, base64, raw float32, small integers and bits; headers

The dialects: `openai`, `tei`, `cohere`, `ollama`, and me5's own `score`. `sides` logs who never names one.
"""
