# The OpenAPI document of the controller as a page of Markdown, for tools/build-site.
def name: split("/")[-1];
def type:
  if . == null then ""
  elif has("$ref") then "[\(.["$ref"] | name)](#\(.["$ref"] | name | ascii_downcase))"
  elif .type == "array" then "list of \(.items | type)"
  elif .enum then [.enum[] | tostring] | join(", ")
  else [.type // "any", .format // empty] | join(", ") end;
def cell: tostring | gsub("\\|"; "\\|") | gsub("\n"; " ");
def bounds: [(select(.minimum != null) | "from \(.minimum)"), (select(.maximum != null) | "to \(.maximum)"),
  (select(.maxLength != null) | "at most \(.maxLength) characters")] | join(" ");
def row: "| " + (map(cell) | join(" | ")) + " |";
def fields:
  (.required // []) as $required |
  if .properties then
    ["| field | type | what |", "|---|---|---|"] +
    [.properties | to_entries[] | .key as $key |
      ["`\(.key)`" + (if $required | index($key) then " (needed)" else "" end), (.value | type),
       ([.value.description // empty, (.value | bounds | select(. != ""))] | join("; "))] | row]
  else ["Any object."] end;
def parameters:
  if (. // []) == [] then [] else
    ["| parameter | in | type | what |", "|---|---|---|---|"] +
    [.[] | ["`\(.name)`", .in, (.schema | type), (.description // "")] | row] + [""] end;
def body: .requestBody.content // {} | to_entries[0] | select(. != null) |
  ["Body: \(.key), \(.value.schema | type)", ""];
def answer: .responses["2XX"].content // {} | to_entries[0] | select(. != null) |
  ["Answer: \(.key), \(.value.schema | if .properties.items then .properties.items | type else type end)", ""];

(["# The controller's interface", "", .info.description, "",
  "What holds for all of it is in [what a site's controllers keep](api.md). This page is made from the controller's own tables " +
  "(`wnodes-controller openapi`).", ""] +
 [.paths | to_entries[] | .key as $path | .value | to_entries[] |
  (["## \(.key | ascii_upcase) `\($path)`", "", "\(.value.summary). \(.value.description // "")", ""] +
   (.value.parameters | parameters) + [.value | body[]] + [.value | answer[]])[]] +
 ["# Objects", ""] +
 [.components.schemas | to_entries[] | (["## \(.key)", ""] + (.value | fields) + [""])[]]) | .[]
