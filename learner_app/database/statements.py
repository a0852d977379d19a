"""What the text of a statement tells: does it only read, does it leave something in the session.

Both err on the safe side: a read that calls an unknown function counts as a write, and what may
leave session state counts as leaving it.
"""

import re
from functools import lru_cache

REMEMBERED = 4096
"""Texts whose answers are kept; repositories use the same few hundred again and again."""

_QUOTED = re.compile(
    r"""(?P<name>"[^"]*")
      | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
      | --[^\r\n]*                          # a comment to the end of the line
      | /\*.*?\*/                           # a comment
      | (?P<text>'[^']*'|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)  # a string""",
    re.VERBOSE | re.DOTALL,
)
_NESTED_COMMENT = re.compile(r"/\*(?:(?!\*/).)*/\*", re.DOTALL)
_HARD_TO_READ = re.compile(r"\\|--|/\*|\$(?!\d)|[\w$]\$")
"""What makes it easy to take SQL for something else: then it is no read."""

_LOCAL_SETTING = re.compile(r'\bset_config"?\s*\([^()]*,\s*true\s*\)', re.IGNORECASE)
_LEAVES_STATE = re.compile(
    r"""(?:^|;)\s*(?:
            set\s+(?!(?:local|constraints|transaction)\b)
          | (?:listen|load|do|call|discard|deallocate)\b
          | prepare\s+(?!transaction\b)
          | declare\b.*\bwith\s+hold\b
        )
      | \bcreate\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?\b
        (?![^;]*\bon\s+commit\s+drop\b)
      | \binto\s+(?:temp|temporary)\b
      | \bpg_temp\b
      | \bupdate\s+(?:only\s+)?(?:pg_catalog\s*\.\s*)?"?pg_settings\b
      | \b(?:set_config|setseed|set_limit|dblink_connect)"?\s*\(
      | \bpg_(?:try_)?advisory_lock""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

_READS = re.compile(r"\s*(?:select|values|table|show)\b|\s*with\b", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(?:insert|update|delete|merge|into|call|truncate|share)\b|;\s*\S",
    re.IGNORECASE,
)
_CALL = re.compile(r'(\.?\s*[\w"]+)\s*\(')
_FUNCTIONS = """
    abs all and any array array_agg array_length array_position array_to_json as avg between
    bool_and bool_or by cardinality case cast ceil char_length clock_timestamp coalesce concat
    concat_ws count current_setting date_part date_trunc decimal distinct else exists extract
    filter floor from greatest having in interval is join json_agg json_build_object
    json_object_agg jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length
    jsonb_build_array jsonb_build_object jsonb_object_agg jsonb_object_keys lag lateral lead least
    left length like limit lower ltrim materialized max min mod not now nullif numeric offset on or
    over overlaps partition percentile_cont pg_is_in_recovery pg_postmaster_start_time position
    rank regexp_replace right round row row_number row_to_json rtrim select similarity some
    split_part starts_with string_agg strpos substring sum then timestamp timestamptz to_char
    to_json to_jsonb to_timestamp trim unnest upper using values varchar when where with within
"""
_HARMLESS = frozenset(_FUNCTIONS.split())
"""What may stand before a parenthesis in a read: functions without effects, and keywords."""


def _bare(sql: str) -> str:
    """The statement without comments and without what its strings say."""
    return _QUOTED.sub(_bared, sql)


def _bared(match: re.Match[str]) -> str:
    return match["name"] or ("''" if match["text"] or match["escaped"] else " ")


@lru_cache(REMEMBERED)
def is_read(sql: str) -> bool:
    """Whether the statement changes nothing, so that sending it twice cannot double a write."""
    text = _bare(sql)
    if _HARD_TO_READ.search(sql) or not _READS.match(text) or _WRITES.search(text):
        return False
    return all(name.strip().lower() in _HARMLESS for name in _CALL.findall(text))


@lru_cache(REMEMBERED)
def leaves_session_state(sql: str) -> bool:
    """Whether the session may be another one after the statement: SET, LISTEN, session locks."""
    text = _LOCAL_SETTING.sub("", _bare(sql))
    return bool(_NESTED_COMMENT.search(sql)) or bool(_LEAVES_STATE.search(text))


_CONTROLS = re.compile(
    r"(?:^|;)\s*(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)


@lru_cache(REMEMBERED)
def controls_transaction(sql: str) -> bool:
    """Whether the statement begins or ends a transaction; savepoints do not."""
    return bool(_CONTROLS.search(_bare(sql)))
