"""Known models as data: id, revision, shape, prompts, limits, licence, published scores.

A checkpoint folder describes its network but seldom the prompts of its texts: the folder of
multilingual-e5-large-instruct lists no prompt at all. This table closes that gap, and pins the revision that is
downloaded. Sources: the models' pages and files on the hub, and mteb's model metas at a905523; for rerankers also the
cards of models that were trained from them, which name the revision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from me5.prompts import E5_PREFIX, INSTRUCT, NONE, WEB_SEARCH, Prompts

BUNDLED = "me5-small"
FLAGSHIP = "intfloat/multilingual-e5-large-instruct"

# sentence-transformers records the cosine of one query to four documents for many models, in float32 with a tolerance
# of 0.01 (tests/test_pretrained.py at 72e75f78). Only prompts from the repository's own files are applied there.
GOLDEN_QUERY = "Which planet is known as the Red Planet?"
GOLDEN_DOCUMENTS = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)
GOLDEN_TOLERANCE = 0.01

# The usage example of the flagship's model card, which `me5 demo` answers.
CARD_TASK = WEB_SEARCH
CARD_QUERIES = ("how much protein should a female eat", "南瓜的家常做法")
CARD_DOCUMENTS = (
    "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day. "
    "But, as you can see from this chart, you'll need to increase that if you're expecting or training for a marathon. "
    "Check out the chart below to see how much protein you should be eating each day.",
    "1.清炒南瓜丝 原料:嫩南瓜半个 调料:葱、盐、白糖、鸡精 做法: 1、南瓜用刀薄薄的削去表面一层皮,用勺子刮去瓤 "
    "2、擦成细丝(没有擦菜板就用刀慢慢切成细丝) 3、锅烧热放油,入葱花煸出香味 "
    "4、入南瓜丝快速翻炒一分钟左右,放盐、一点白糖和鸡精调味出锅 "
    "2.香葱炒南瓜 原料:南瓜1只 调料:香葱、蒜末、橄榄油、盐 做法: 1、将南瓜去皮,切成片 "
    "2、油锅8成热后,将蒜末放入爆香 3、爆香后,将南瓜片放入,翻炒 "
    "4、在翻炒的同时,可以不时地往锅里加水,但不要太多 5、放入盐,炒匀 "
    "6、南瓜差不多软和绵了之后,就可以关火 7、撒入香葱,即可出锅",
)


@dataclass(frozen=True)
class KnownModel:
    """What is published about one model.

    `golden` are the four scores for `GOLDEN_QUERY` with `golden_query_prefix` in front; `card_scores` the scores × 100
    that its card prints for the card example, queries × documents. `matryoshka` lists the shorter dimensions that its
    vectors were trained for. A `reranker` is a cross-encoder, which gives scores and no vectors; `dim` is its width.
    """

    id: str
    revision: str
    prompts: Prompts
    layers: int
    dim: int
    parameters: int
    max_tokens: int
    languages: str
    licence: str
    reranker: bool = False
    golden: tuple[float, ...] = ()
    golden_query_prefix: str = ""
    card_scores: tuple[tuple[float, ...], ...] = ()
    matryoshka: tuple[int, ...] = ()


_ARCTIC = Prompts("prefix", query="query: ", document="", both="query: ")

KNOWN_MODELS: Sequence[KnownModel] = (
    KnownModel(  # its golden scores are llama.cpp's, from the bundled file
        BUNDLED, "", INSTRUCT, 12, 384, 109_427_712, 512, "94", "MIT",
        golden=(0.83472, 0.92098, 0.87771, 0.8721), golden_query_prefix=INSTRUCT.prefix("query"),
    ),
    KnownModel(
        FLAGSHIP, "274baa43b0e13e37fafa6428dbc7938e62e5c439", INSTRUCT, 24, 1024, 559_890_432, 512, "94", "MIT",
        golden=(0.79779, 0.89875, 0.85599, 0.85365), card_scores=((91.92853, 67.58032), (70.38145, 92.13308)),
    ),
    KnownModel(
        "intfloat/multilingual-e5-large", "ab10c1a7f42e74530fe7ae5be82e6d4f11a719eb", E5_PREFIX,
        24, 1024, 559_890_432, 512, "94", "MIT", golden=(0.76823, 0.87257, 0.8288, 0.83204),
    ),
    KnownModel(
        "intfloat/multilingual-e5-base", "d13f1b27baf31030b7fd040960d60d909913633f", E5_PREFIX,
        12, 768, 278_043_648, 512, "94", "MIT", golden=(0.79078, 0.87654, 0.85599, 0.86601),
    ),
    KnownModel(
        "intfloat/multilingual-e5-small", "fd1525a9fd15316a2d503bf26ab031a61d056e98", E5_PREFIX,
        12, 384, 117_653_760, 512, "94", "MIT", golden=(0.81146, 0.90638, 0.87144, 0.85721),
    ),
    KnownModel(
        "intfloat/e5-large-v2", "b322e09026e4ea05f42beadf4d661fb4e101d311", E5_PREFIX,
        24, 1024, 335_141_888, 512, "English", "MIT", golden=(0.77354, 0.85856, 0.83334, 0.84103),
    ),
    KnownModel(
        "intfloat/e5-base-v2", "1c644c92ad3ba1efdad3f1451a637716616a20e8", E5_PREFIX,
        12, 768, 109_482_240, 512, "English", "MIT", golden=(0.79724, 0.90021, 0.8485, 0.86522),
    ),
    KnownModel(
        "intfloat/e5-small-v2", "dca8b1a9dae0d4575df2bf423a5edb485a431236", E5_PREFIX,
        12, 384, 33_360_000, 512, "English", "MIT", golden=(0.81278, 0.91429, 0.86806, 0.87815),
    ),
    KnownModel(
        # The newest revision ships the weights as a pickle only; this one is the last known with safetensors.
        "BAAI/bge-m3", "80087bf0b7876bc948d3b5677706633f6c795fa2", NONE,
        24, 1024, 567_754_752, 8192, "100+", "MIT", golden=(0.40965, 0.71124, 0.64807, 0.65035),
    ),
    KnownModel(
        "Snowflake/snowflake-arctic-embed-l-v2.0", "edc2df7b6c25794b340229ca082e7c78782e6374", _ARCTIC,
        24, 1024, 567_754_752, 8192, "74", "Apache-2.0",
        golden=(0.33782, 0.70994, 0.55318, 0.5992), golden_query_prefix="query: ", matryoshka=(256,),
    ),
    KnownModel(
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", "e8f8c211226b894fcb81acc59f3b34ba3efd5f42",
        NONE, 12, 384, 117_653_760, 128, "50+", "Apache-2.0", golden=(0.45344, 0.72604, 0.63646, 0.66457),
    ),
    KnownModel(
        "sentence-transformers/all-MiniLM-L6-v2", "8b3219a92973c328a8e22fadcfa821b5dc75636a", NONE,
        6, 384, 22_713_216, 256, "English", "Apache-2.0", golden=(0.46469, 0.81146, 0.72792, 0.75019),
    ),
    KnownModel(
        "BAAI/bge-reranker-v2-m3", "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e", NONE,
        24, 1024, 567_755_777, 8192, "100+", "Apache-2.0", reranker=True,
    ),
    KnownModel(
        "BAAI/bge-reranker-large", "55611d7bca2a7133960a6d3b71e083071bbfc312", NONE,
        24, 1024, 559_891_457, 512, "Chinese, English", "MIT", reranker=True,
    ),
    KnownModel(
        "BAAI/bge-reranker-base", "2cfc18c9415c912f9d8155881c133215df768a70", NONE,
        12, 768, 278_044_417, 512, "Chinese, English", "MIT", reranker=True,
    ),
    KnownModel(
        "cross-encoder/mmarco-mMiniLMv2-L12-H384-v1", "1427fd652930e4ba29e8149678df786c240d8825", NONE,
        12, 384, 117_641_089, 512, "14", "Apache-2.0", reranker=True,
    ),
    KnownModel(
        "cross-encoder/ms-marco-MiniLM-L6-v2", "c5ee24cb16019beea0893ab7796b1df96625c6b8", NONE,
        6, 384, 22_713_601, 512, "English", "Apache-2.0", reranker=True,
    ),
)  # fmt: skip

BY_ID: Mapping[str, KnownModel] = {model.id: model for model in KNOWN_MODELS}


def find(name: str) -> KnownModel | None:
    """The known model of that id, or of that last part where only one model has it (`multilingual-e5-small`)."""
    if (exact := BY_ID.get(name)) is not None:
        return exact
    short = [model for model in KNOWN_MODELS if model.id.rpartition("/")[2].lower() == name.lower()]
    return short[0] if len(short) == 1 else None


def recognise(folder: Path) -> KnownModel | None:
    """The known model that a local folder holds, told by its path.

    A hub cache names the model in a parent (`models--intfloat--multilingual-e5-small/snapshots/…`); a plain download
    usually keeps the model's name. The folder's own files do not say it.
    """
    for part in [folder, *folder.parents][:3]:
        if part.name.startswith("models--"):
            return find("/".join(part.name.split("--")[1:3]))
    return find(folder.name)
