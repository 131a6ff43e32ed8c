#!/usr/bin/env bash
# Ask a running `me5 serve` with curl: scores, and vectors in three dialects.
set -euo pipefail
url=${ME5_URL:-http://127.0.0.1:8080}

ask() {
  local path=$1 body=$2
  local reply
  reply=$(curl --silent --show-error --fail-with-body "$url$path" \
    --header "authorization: Bearer ${ME5_API_KEY:-none needed}" \
    --header "content-type: application/json" \
    --data "$body")
  printf '%s  %s\n%s …\n\n' "$path" "$body" "${reply:0:250}"
}

ask /v1/score '{"queries": ["how tall is K2?", "南瓜的家常做法"], "documents": ["K2 rises to 8,611 metres.", "清炒南瓜丝"]}'

# OpenAI's: the side is a field, or the end of the model's name.
ask /v1/embeddings '{"model": "me5-small", "input": "how tall is K2?", "side": "query"}'
ask /v1/embeddings '{"model": "me5-small:document", "input": ["K2 rises to 8,611 metres."], "encoding_format": "base64"}'

# That of text-embeddings-inference, and Cohere's.
ask /embed '{"inputs": "how tall is K2?", "prompt_name": "query"}'
ask /v2/embed '{"model": "me5-small", "input_type": "search_query", "texts": ["how tall is K2?"]}'

# Raw float32, the fastest way.
curl --silent --show-error --fail-with-body "$url/v1/embeddings" \
  --header "authorization: Bearer ${ME5_API_KEY:-none needed}" \
  --header "content-type: application/json" \
  --header "accept: application/octet-stream" \
  --data '{"input": "how tall is K2?", "side": "query"}' | od --address-radix=d --format=f4 --read-bytes=32
