//! The names of PHP's types.

use ext_php_rs::types::Zval;

/// Returns a type's name as in PHP's error messages.
pub(crate) fn type_name(value: &Zval) -> String {
    if value.is_null() {
        "null".to_owned()
    } else if value.is_bool() {
        "bool".to_owned()
    } else if value.is_long() {
        "int".to_owned()
    } else if value.is_double() {
        "float".to_owned()
    } else if value.is_string() {
        "string".to_owned()
    } else if value.is_array() {
        "array".to_owned()
    } else if value.is_resource() {
        "resource".to_owned()
    } else if let Some(object) = value.object() {
        object
            .get_class_name()
            .unwrap_or_else(|_| "object".to_owned())
    } else {
        "unknown".to_owned()
    }
}
