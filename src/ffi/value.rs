//! Reads PHP values without changing them.

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::types::{ZendHashTable, ZendObject, ZendStr, Zval};

use super::bailout::{self, Bailout};

unsafe extern "C" {
    fn zend_get_properties_for(object: *mut Zval, purpose: c_int) -> *mut ffi::HashTable;
    fn php_date_get_interface_ce() -> *mut ffi::zend_class_entry;
    static php_json_serializable_ce: *mut ffi::zend_class_entry;
    static zend_ce_unit_enum: *mut ffi::zend_class_entry;
    static zend_ce_backed_enum: *mut ffi::zend_class_entry;
}

/// `HASH_FLAG_PACKED`
const PACKED: u32 = 1 << 2;

/// `ZEND_PROP_PURPOSE_JSON`
const PURPOSE_JSON: c_int = 4;

/// Returns the bytes of a string value.
pub(crate) fn bytes(value: &Zval) -> Option<&[u8]> {
    value.zend_str().map(ZendStr::as_bytes)
}

/// Creates a string value of arbitrary bytes.
pub(crate) fn string(bytes: &[u8]) -> Zval {
    let mut value = Zval::new();
    value.set_zend_string(ZendStr::new(bytes, false));
    value
}

/// Creates a string like [`string`], of bytes that may exceed PHP's memory limit.
pub(crate) fn large_string(bytes: &[u8]) -> Result<Zval, Bailout> {
    bailout::catch(|| string(bytes))
}

/// Calls `visit` for every element of an array until it returns a value. Keys are bytes, because
/// PHP's need not be UTF-8.
///
/// `visit` may run PHP code: the array stays alive, even if the variable that holds it is replaced.
pub(crate) fn find_in_array<T>(
    array: &Zval,
    mut visit: impl FnMut(Key<'_>, &Zval) -> Option<T>,
) -> Option<T> {
    find_raw_in_array(array, |key, element| {
        visit(key, element.indirect().unwrap_or(element).dereference())
    })
}

/// Like [`find_in_array`], with elements that may be references.
pub(crate) fn find_raw_in_array<T>(
    array: &Zval,
    mut visit: impl FnMut(Key<'_>, &Zval) -> Option<T>,
) -> Option<T> {
    let held = array.shallow_clone();
    let table = ptr::from_ref(held.array()?).cast_mut();
    let mut position: ffi::HashPosition = 0;
    loop {
        let mut key = Zval::new();
        // SAFETY: the table is live for the loop, and the position is one that the engine gave (or
        // the first). The engine returns null beyond the end. The key is a copy that `key` owns.
        let element = unsafe {
            let element = ffi::zend_hash_get_current_data_ex(table, &raw mut position);
            ffi::zend_hash_get_current_key_zval_ex(table, &raw mut key, &raw mut position);
            element.as_ref()?
        };
        let found = match (key.long(), bytes(&key)) {
            (Some(index), _) => visit(Key::Index(index), element),
            (_, Some(name)) => visit(Key::Name(name), element),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        // SAFETY: as above.
        unsafe { ffi::zend_hash_move_forward_ex(table, &raw mut position) };
    }
}

/// Returns `true` if an array's keys are 0, 1, 2, … in this order. An empty array is a list.
pub(crate) fn is_list(array: &Zval) -> bool {
    if array.array().is_some_and(is_packed_without_holes) {
        return true;
    }
    let mut next = 0;
    let gap = find_in_array(array, |key, _| {
        let in_order = matches!(key, Key::Index(index) if index == next);
        next += 1;
        (!in_order).then_some(())
    });
    gap.is_none()
}

/// Returns the elements of a list, some of which may be references. Hold them only while no PHP code
/// can run.
///
/// Returns `None` for the few lists whose elements the engine keeps in another order.
pub(crate) fn elements(array: &Zval) -> Option<&[Zval]> {
    let table = array
        .array()
        .filter(|table| is_packed_without_holes(table))?;
    let count = table.nNumUsed as usize;
    if count == 0 {
        return Some(&[]);
    }
    // SAFETY: a packed array has its elements side by side at this place, and no PHP code changes
    // it meanwhile.
    unsafe {
        let first = table.__bindgen_anon_1.arPacked;
        Some(std::slice::from_raw_parts(first.cast_const(), count))
    }
}

/// Returns `true` if the engine keeps an array's elements in the order of their keys 0, 1, 2, …, as
/// it does for most lists.
fn is_packed_without_holes(array: &ZendHashTable) -> bool {
    // SAFETY: every array has its flags in this union.
    let flags = unsafe { array.u.flags };
    flags & PACKED != 0 && array.nNumUsed == array.nNumOfElements
}

/// Creates a list of values, and adds each one in a separate step. Returns an error once PHP has no
/// memory left.
pub(crate) fn list(values: impl IntoIterator<Item = Zval>) -> Result<Zval, Bailout> {
    let mut values = values.into_iter();
    let mut list = ZendHashTable::new();
    // Pushing fails only beyond PHP's largest index.
    while bailout::catch(|| values.next().is_some_and(|value| list.push(value).is_ok()))? {}
    let mut value = Zval::new();
    value.set_hashtable(list);
    Ok(value)
}

/// A key of a PHP array.
#[derive(Clone, Copy)]
pub(crate) enum Key<'a> {
    Index(i64),
    Name(&'a [u8]),
}

impl Key<'_> {
    /// Returns the key as a value of its own.
    pub(crate) fn to_zval(self) -> Zval {
        match self {
            Key::Index(index) => {
                let mut value = Zval::new();
                value.set_long(index);
                value
            }
            Key::Name(name) => string(name),
        }
    }
}

/// Returns a key as an array stores it: a string that is a whole number becomes that number.
pub(crate) fn array_key(key: &Zval) -> Zval {
    let text = bytes(key).and_then(|bytes| str::from_utf8(bytes).ok());
    // The lowest number stays a text, as in the engine.
    let number = text
        .and_then(|text| {
            text.parse::<i64>()
                .ok()
                .filter(|number| number.to_string() == text)
        })
        .filter(|&number| number != i64::MIN);
    match number {
        Some(number) => Key::Index(number).to_zval(),
        None => key.shallow_clone(),
    }
}

/// Creates an array with numbers or strings as keys, and adds each entry in a separate step.
/// Returns an error once PHP has no memory left.
pub(crate) fn map(entries: impl IntoIterator<Item = (Zval, Zval)>) -> Result<Zval, Bailout> {
    let mut entries = entries.into_iter();
    let mut map = ZendHashTable::new();
    let mut step = || match entries.next() {
        Some((key, entry)) => {
            insert(&mut map, &key, entry);
            true
        }
        None => false,
    };
    while bailout::catch(&mut step)? {}
    let mut value = Zval::new();
    value.set_hashtable(map);
    Ok(value)
}

fn insert(map: &mut ZendHashTable, key: &Zval, entry: Zval) {
    let mut entry = ManuallyDrop::new(entry);
    // SAFETY: the table is ours. It takes over the entry's reference and copies the key.
    unsafe {
        match (key.long(), key.zend_str()) {
            (Some(index), _) => {
                let index = index.cast_unsigned();
                ffi::zend_hash_index_update(&raw mut *map, index, &raw mut *entry);
            }
            (_, Some(name)) => {
                let name = name.as_ptr().cast_mut();
                ffi::zend_hash_update(&raw mut *map, name, &raw mut *entry);
            }
            _ => ManuallyDrop::drop(&mut entry),
        }
    }
}

/// The way in which the JSON encoder writes an object.
pub(crate) enum JsonShape {
    /// Call its `jsonSerialize()`.
    Serializable,
    /// Write its value.
    BackedEnum,
    /// Refuse it.
    PureEnum,
    /// Write its public properties.
    Properties,
}

/// Returns the way in which the JSON encoder would write an object.
pub(crate) fn json_shape(object: &ZendObject) -> JsonShape {
    // SAFETY: the engine sets these class entries before any module starts, and they outlive it.
    let (serializable, backed, unit) = unsafe {
        (
            php_json_serializable_ce.as_ref(),
            zend_ce_backed_enum.as_ref(),
            zend_ce_unit_enum.as_ref(),
        )
    };
    let is = |class: Option<&ffi::zend_class_entry>| {
        class.is_some_and(|class| object.instance_of(class))
    };
    if is(serializable) {
        JsonShape::Serializable
    } else if is(backed) {
        JsonShape::BackedEnum
    } else if is(unit) {
        JsonShape::PureEnum
    } else {
        JsonShape::Properties
    }
}

/// Returns `true` if an object is a `DateTimeInterface`.
pub(crate) fn is_date(object: &ZendObject) -> bool {
    // SAFETY: the function returns the interface that the date extension, always present,
    // registered before this one.
    unsafe { php_date_get_interface_ce().as_ref() }.is_some_and(|class| object.instance_of(class))
}

/// Calls `visit` for each property that the JSON encoder would write, until it returns a value.
pub(crate) fn find_in_object<T>(
    object: &Zval,
    mut visit: impl FnMut(Key<'_>, &Zval) -> Option<T>,
) -> Option<T> {
    // SAFETY: `object` holds an object. The engine returns null or a table with a reference, which
    // we give back by dropping the array value made of it.
    let table = unsafe {
        zend_get_properties_for(ptr::from_ref(object).cast_mut(), PURPOSE_JSON)
            .cast::<ZendHashTable>()
    };
    if table.is_null() {
        return None;
    }
    let mut holder = Zval::new();
    // SAFETY: see above.
    holder.set_hashtable(unsafe { ext_php_rs::boxed::ZBox::from_raw(table) });
    find_in_array(&holder, |key, value| match key {
        // Names of private and protected properties begin with a NUL.
        Key::Name(name) if name.first() == Some(&0) => None,
        key => visit(key, value),
    })
}

/// Returns an address that distinguishes an array or object from every other live one.
pub(crate) fn identity(value: &Zval) -> Option<usize> {
    match (value.array(), value.object()) {
        (Some(array), _) => Some(ptr::from_ref(array).addr()),
        (_, Some(object)) => Some(ptr::from_ref(object).addr()),
        _ => None,
    }
}
