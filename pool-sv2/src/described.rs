//! For tests of what answers: whether an answer is what its OpenAPI document says.

use serde_json::Value;

/// Fails unless the answer has the keys that its schema asks for, and no other, at any depth.
pub(crate) fn check_shape(path: &str, described: &Value, schema: &Value, answer: &Value) {
    let name = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next());
    let schema = name.map_or(schema, |name| &described["components"]["schemas"][name]);
    if let Some(items) = answer.as_array() {
        assert_eq!(schema["type"], "array", "{path}");
        items.iter().for_each(|item| check_shape(path, described, &schema["items"], item));
    }
    let (Some(wanted), Some(given)) = (schema["required"].as_array(), answer.as_object()) else {
        return;
    };
    let mut wanted: Vec<_> = wanted.iter().filter_map(Value::as_str).collect();
    let mut keys: Vec<_> = given.keys().map(String::as_str).collect();
    wanted.sort_unstable();
    keys.sort_unstable();
    assert_eq!(keys, wanted, "{path}");
    for (key, value) in given {
        check_shape(path, described, &schema["properties"][key], value);
    }
}
