"""GGUF, the one-file format of llama.cpp, Ollama and LM Studio: read as a checkpoint, and written from one.

`header` reads the file's settings and tensors within bounds, `blocks` knows their types of numbers, `network` and
`tokenizer` translate the settings into config.json's terms and into a tokenizer, `writing` makes a file that those
programs load.
"""
