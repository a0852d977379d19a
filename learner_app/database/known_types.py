"""Array types of pg_catalog, registered with asyncpg without a query.

Among the array types asyncpg knows only ``text[]``. For every other one it would query the catalog
on each new connection. PostgreSQL's source file ``pg_type.dat`` fixes the OIDs.
"""

from types import MappingProxyType
from typing import Any

ARRAYS = MappingProxyType(
    {
        "bool": (1000, 16),
        "bytea": (1001, 17),
        "char": (1002, 18),
        "name": (1003, 19),
        "int2": (1005, 21),
        "int4": (1007, 23),
        "bpchar": (1014, 1042),
        "varchar": (1015, 1043),
        "int8": (1016, 20),
        "float4": (1021, 700),
        "float8": (1022, 701),
        "oid": (1028, 26),
        "inet": (1041, 869),
        "timestamp": (1115, 1114),
        "date": (1182, 1082),
        "time": (1183, 1083),
        "timestamptz": (1185, 1184),
        "interval": (1187, 1186),
        "json": (199, 114),
        "numeric": (1231, 1700),
        "timetz": (1270, 1266),
        "uuid": (2951, 2950),
        "jsonb": (3807, 3802),
    }
)
"""OID of the array type and OID of its element type, by the name of the element type."""


def _introspection_row(name: str, array: int, element: int) -> dict[str, Any]:
    """Return an array type in the format of asyncpg's introspection query."""
    return {
        "oid": array,
        "ns": "pg_catalog",
        "name": f"_{name}",
        "kind": b"b",
        "basetype": None,
        "basetype_name": None,
        "elemtype": element,
        "elemtype_name": name,
        "elemdelim": ",",
        "range_subtype": None,
        "range_subtype_name": None,
        "attrtypoids": None,
        "attrnames": None,
    }


KNOWN_TYPES = [
    _introspection_row(name, array, element) for name, (array, element) in ARRAYS.items()
]
"""Argument of ``register_data_types()`` of asyncpg's protocol settings."""
