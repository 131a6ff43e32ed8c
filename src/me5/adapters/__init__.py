"""me5 under the interfaces of other libraries: `langchain`, `llama_index` and `haystack`, each importing its own."""
