"""Classification of statements by their text: reads, session state, transaction control.

In doubt a statement counts as the more dangerous kind: a SELECT that calls an unknown function
counts as a write, and a statement that may leave session state counts as leaving it. If that is
wrong, the only cost is that a read is not retried, or that a session is reset unnecessarily.
"""

import re
from functools import lru_cache

CACHE_SIZE = 4096
"""Number of statements whose classification is cached; the repositories send a few hundred."""

_QUOTED = re.compile(
    r"""(?P<name>"[^"]*")
      | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
      | --[^\r\n]*                          # a comment to the end of the line
      | /\*.*?\*/                           # a comment
      | (?P<text>'[^']*'|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)  # a string""",
    re.VERBOSE | re.DOTALL,
)
_NESTED_COMMENT = re.compile(r"/\*(?:(?!\*/).)*/\*", re.DOTALL)
_AMBIGUOUS = re.compile(r"\\|--|/\*|\$(?!\d)|[\w$]\$")
"""Escapes, comments and dollar quotes; a statement with one of them counts as a write."""

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
_ALIAS = re.compile(r"\bas\s+\w+\s*(?=\()", re.IGNORECASE)
"""Alias before a list of columns, as in ``AS item (id)``, or a type: it is not a call."""

_CALL = re.compile(r'(\.?\s*[\w"]+)\s*\(')
_FUNCTIONS = """
    abs age all and any array array_agg array_append array_cat array_length array_position
    array_prepend array_remove array_replace array_to_json array_to_string as ascii avg between
    bit_and bit_length bit_or bool_and bool_or btrim by cardinality case cast ceil char_length
    chr clock_timestamp coalesce col_description concat concat_ws corr count cume_dist
    current_database current_schema current_schemas current_setting date_bin date_part
    date_trunc decimal decode dense_rank distinct div else encode every exists exp extract
    filter first_value float floor format format_type from gen_random_uuid generate_series
    greatest has_table_privilege having in inet_server_addr inet_server_port initcap interval is
    isempty join json_agg json_array_elements json_array_length json_build_array
    json_build_object json_object_agg json_object_keys json_typeof jsonb_agg
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
    jsonb_object_agg jsonb_object_keys jsonb_path_exists jsonb_path_query jsonb_path_query_array
    jsonb_pretty jsonb_strip_nulls jsonb_typeof justify_interval lag last_value lateral lead
    least left length like limit ln log lower lpad ltrim make_date make_interval
    make_timestamptz materialized max md5 min mod mode not now nth_value ntile nullif numeric
    numrange obj_description octet_length offset on or over overlaps partition percent_rank
    percentile_cont percentile_disc pg_backend_pid pg_column_size pg_database_size
    pg_get_constraintdef pg_get_indexdef pg_is_in_recovery pg_postmaster_start_time
    pg_relation_size pg_size_pretty pg_sleep pg_sleep_for pg_sleep_until pg_table_size
    pg_total_relation_size pg_typeof plainto_tsquery position power quote_ident quote_literal
    radians random rank regexp_match regexp_matches regexp_replace regexp_split_to_array
    regexp_split_to_table repeat replace reverse right round row row_number row_to_json rpad
    rtrim scale select sha256 sign similarity some split_part sqrt starts_with
    statement_timestamp stddev stddev_pop stddev_samp strict_word_similarity string_agg
    string_to_array strpos substring sum then timestamp timestamptz to_char to_date to_json
    to_jsonb to_number to_regclass to_timestamp to_tsquery to_tsvector transaction_timestamp
    translate trim trim_array trunc ts_rank tstzrange unnest upper using values var_pop var_samp
    varchar variance version websearch_to_tsquery when where width_bucket with within
    word_similarity
"""
_SAFE_BEFORE_PARENTHESIS = frozenset(_FUNCTIONS.split())
"""Words that may precede a parenthesis in a read: keywords, functions without side effects."""

_TRANSACTION_CONTROL = re.compile(
    r"(?:^|;)\s*(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)


def _strip_strings_and_comments(sql: str) -> str:
    return _QUOTED.sub(_replacement, sql)


def _replacement(match: re.Match[str]) -> str:
    """Return a quoted name as it is, an empty string literal, or a space for a comment."""
    return match["name"] or ("''" if match["text"] or match["escaped"] else " ")


@lru_cache(CACHE_SIZE)
def is_read(sql: str) -> bool:
    """Return True if the statement certainly only reads, so that it can be executed again."""
    text = _strip_strings_and_comments(sql)
    if _AMBIGUOUS.search(sql) or not _READS.match(text) or _WRITES.search(text):
        return False
    calls = _CALL.findall(_ALIAS.sub(",", text))
    return all(name.strip().lower() in _SAFE_BEFORE_PARENTHESIS for name in calls)


@lru_cache(CACHE_SIZE)
def leaves_session_state(sql: str) -> bool:
    """Return True if the statement may leave session state, such as SET, LISTEN or a session lock.

    A nested comment is not parsed and counts as session state.
    """
    text = _LOCAL_SETTING.sub("", _strip_strings_and_comments(sql))
    return bool(_NESTED_COMMENT.search(sql)) or bool(_LEAVES_STATE.search(text))


@lru_cache(CACHE_SIZE)
def controls_transaction(sql: str) -> bool:
    """Return True if the statement begins or ends a transaction rather than a savepoint."""
    return bool(_TRANSACTION_CONTROL.search(_strip_strings_and_comments(sql)))
