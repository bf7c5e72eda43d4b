"""Holds values against docs/schema/kaibiao.schema.json with a validator of another house.

`check_frames.py SCHEMA` reads from standard input one JSON object a line, {"type": NAME, "value": ...}, where NAME is a
definition of the schema. It prints how many hold; the first that does not ends the program.
"""

import json
import sys

from jsonschema import Draft202012Validator

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validators = {}
held = 0
for line in sys.stdin:
    item = json.loads(line)
    name = item["type"]
    if name not in validators:
        assert name in schema["$defs"], f"the schema has no {name}"
        validators[name] = Draft202012Validator(schema | {"$ref": f"#/$defs/{name}"})
    validators[name].validate(item["value"])
    held += 1
print(held)
