//! Converts the PHP properties of an object to an array, and sets them from one.
//!
//! Setting them follows the checks of PHP's own `unserialize()`. So a forged string can do no more
//! than PHP code. It cannot give a property a value of a wrong type, set a readonly property twice,
//! or add a dynamic property that its class forbids. Unlike in PHP, a readonly property receives a
//! copy of the value behind a reference.

use std::ffi::{CString, c_char, c_int};
use std::mem::ManuallyDrop;
use std::ptr;

use ext_php_rs::boxed::ZBox;
use ext_php_rs::ffi;
use ext_php_rs::flags::{ClassFlags, PropertyFlags};
use ext_php_rs::types::{ZendHashTable, ZendObject, ZendStr, Zval};
use ext_php_rs::zend::ClassEntry;

use super::bailout;
use super::throw::{self, Thrown};
use super::value::{self, Key};

type Info = ffi::zend_property_info;
type Sources = ffi::zend_property_info_source_list;

unsafe extern "C" {
    fn zend_std_build_object_properties_array(object: *mut ZendObject) -> *mut ffi::HashTable;
    fn zend_verify_prop_assignable_by_ref(
        property: *const Info,
        value: *mut Zval,
        strict: bool,
    ) -> bool;
    fn zend_readonly_property_modification_error(property: *const Info);
    fn zend_ref_add_type_source(sources: *mut Sources, property: *const Info);
    fn zend_ref_del_type_source(sources: *mut Sources, property: *const Info);
    fn zend_error(kind: c_int, format: *const c_char, ...);
}

/// `ZEND_ACC_READONLY`, which is the same in every PHP since 8.1.
const READONLY: u32 = 1 << 7;
/// `ZEND_ACC_ALLOW_DYNAMIC_PROPERTIES`, which is the same in every PHP since 8.2.
const ALLOW_DYNAMIC: u32 = 1 << 15;

/// Returns the properties of an object as an array, including dynamic ones and those of a userland
/// subclass.
pub(crate) fn properties(object: &mut ZendObject) -> Result<Zval, Thrown> {
    let table = bailout::catch(|| {
        // SAFETY: the object is live, and the engine returns a new array that we own.
        unsafe { zend_std_build_object_properties_array(object) }
    })?;
    let mut value = Zval::new();
    // SAFETY: see above. The box takes over our reference.
    value.set_hashtable(unsafe { ZBox::from_raw(table.cast::<ZendHashTable>()) });
    Ok(value)
}

/// Returns `true` if each private property among `properties` belongs to the object's class or to a
/// parent of it.
pub(crate) fn owns_privates(object: &ZendObject, properties: &Zval) -> bool {
    let foreign = value::find_in_array(properties, |key, _| match key {
        Key::Name(name) => match Name::of(name).class {
            Some(class) => ancestor(object, class).is_none().then_some(()),
            None => None,
        },
        Key::Index(_) => None,
    });
    foreign.is_none()
}

/// Sets the properties of an object from the result of [`properties`].
///
/// Throws if PHP does not allow a property; the properties before it in the array are then already
/// set. Runs PHP code: an error handler, a destructor.
pub(crate) fn load(object: &mut ZendObject, properties: &Zval) -> Result<(), Thrown> {
    let failed = value::find_raw_in_array(properties, |key, value| {
        let set = bailout::catch(|| match key {
            Key::Name(name) => match declared(object, &Name::of(name)) {
                Some(info) => set_declared(object, info, value),
                None => set_dynamic(object, name, value),
            },
            // The index becomes a name, as in PHP.
            Key::Index(index) => set_dynamic(object, index.to_string().as_bytes(), value),
        });
        match set {
            Ok(outcome) => outcome.err(),
            Err(bailout) => Some(bailout.into()),
        }
    });
    failed.map_or(Ok(()), Err)
}

/// The name of a property in an array: `name`, for a protected one NUL `*` NUL `name`, and for a
/// private one NUL `Class` NUL `name`.
struct Name<'a> {
    /// The class of a private property.
    class: Option<&'a [u8]>,
    name: &'a [u8],
}

impl<'a> Name<'a> {
    fn of(mangled: &'a [u8]) -> Self {
        let [0, rest @ ..] = mangled else {
            return Name {
                class: None,
                name: mangled,
            };
        };
        let end = rest.iter().position(|&byte| byte == 0);
        let (class, name) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + 1..]));
        Name {
            class: (class != b"*").then_some(class),
            name,
        }
    }
}

/// Finds the class with this name among the object's class and its parents. No autoloader runs,
/// because the name may be forged.
fn ancestor<'a>(object: &'a ZendObject, name: &[u8]) -> Option<&'a ClassEntry> {
    std::iter::successors(Some(object.get_class_entry()), |class| class.parent()).find(|class| {
        class
            .name()
            .is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(name))
    })
}

/// Finds the declared property that a name means. The visibility in the name does not matter.
fn declared(object: &ZendObject, name: &Name<'_>) -> Option<*const Info> {
    let own = find(object.get_class_entry(), name.name);
    let info = match name.class {
        None => own,
        Some(class) => {
            let class = ancestor(object, class)?;
            let private = find(class, name.name)
                .filter(|info| info.flags & PropertyFlags::Private.bits() != 0);
            private.or(own).filter(|info| ptr::eq(info.ce, class))
        }
    }?;
    // A private property of a parent is found only under the class of the parent. A virtual
    // property has no slot.
    let hidden = info.flags & PropertyFlags::Private.bits() != 0
        && name.class.is_none()
        && !ptr::eq(info.ce, object.ce);
    (!hidden && has_place(object, info)).then_some(ptr::from_ref(info))
}

/// Finds the property that a class declares under a name. Static properties belong to the class and
/// are left out.
fn find<'a>(class: &'a ClassEntry, name: &[u8]) -> Option<&'a Info> {
    find_any(class, name).filter(|info| info.flags & PropertyFlags::Static.bits() == 0)
}

/// Returns `true` if a class declares a static property under a name. PHP then allows an object's
/// own one without a warning.
fn is_static(class: &ClassEntry, name: &[u8]) -> bool {
    find_any(class, name).is_some() && find(class, name).is_none()
}

fn find_any<'a>(class: &'a ClassEntry, name: &[u8]) -> Option<&'a Info> {
    // SAFETY: the table of a linked class maps names to property infos, which live as long as the
    // class.
    unsafe {
        ffi::zend_hash_str_find(
            &raw const class.properties_info,
            name.as_ptr().cast(),
            name.len(),
        )
        .as_ref()
        .and_then(|slot| slot.value.ptr.cast::<Info>().as_ref())
    }
}

/// Returns `true` if the property has a slot in the object's table.
fn has_place(object: &ZendObject, info: &Info) -> bool {
    let first = std::mem::offset_of!(ZendObject, properties_table);
    // SAFETY: a live object has a class.
    let count = unsafe { (*object.ce).default_properties_count };
    let size = usize::try_from(count).unwrap_or(0) * size_of::<Zval>();
    usize::try_from(info.offset).is_ok_and(|offset| (first..first + size).contains(&offset))
}

#[expect(
    clippy::cast_ptr_alignment,
    reason = "the engine's offsets are multiples of a zval's size"
)]
fn set_declared(object: &mut ZendObject, info: *const Info, value: &Zval) -> Result<(), Thrown> {
    // SAFETY: the info belongs to this object's class, and `has_place` has checked that its slot is
    // inside the object. The slot holds a value at all times; the old one is released when nothing
    // refers to it any more. The engine's functions take the info and a live value, and throw
    // themselves.
    unsafe {
        let slot = ptr::from_mut(object)
            .cast::<u8>()
            .add((*info).offset as usize)
            .cast::<Zval>();
        let is_readonly = (*info).flags & READONLY != 0;
        let is_typed = (*info).type_.type_mask != 0;
        if is_readonly && !is_undefined(&*slot) {
            zend_readonly_property_modification_error(info);
            return Err(Thrown::Pending);
        }
        let value = if is_readonly {
            value.dereference()
        } else {
            value
        };
        let mut new = ManuallyDrop::new(value.shallow_clone());
        if is_typed && !zend_verify_prop_assignable_by_ref(info, &raw mut *new, true) {
            ManuallyDrop::drop(&mut new);
            return Err(Thrown::Pending);
        }
        if is_typed {
            if let Some(sources) = sources(&*slot) {
                zend_ref_del_type_source(sources, info);
            }
            if let Some(sources) = sources(&new) {
                zend_ref_add_type_source(sources, info);
            }
        }
        // The flags of an uninitialised property are cleared.
        new.u2 = std::mem::zeroed();
        let old = ptr::replace(slot, ManuallyDrop::into_inner(new));
        drop(old);
    }
    Ok(())
}

/// Returns `Z_ISUNDEF`.
fn is_undefined(value: &Zval) -> bool {
    // SAFETY: every value has its type in this union.
    unsafe { value.u1.type_info == 0 }
}

/// Returns the list of properties that hold a reference, if the value is one.
fn sources(value: &Zval) -> Option<*mut Sources> {
    // SAFETY: a value of this type holds a live reference.
    value
        .is_reference()
        .then(|| unsafe { &raw mut (*value.value.ref_).sources })
}

fn set_dynamic(object: &mut ZendObject, name: &[u8], value: &Zval) -> Result<(), Thrown> {
    let class = object.get_class_entry();
    let flags = class.ce_flags;
    let place = format!(
        "{}::${}",
        String::from_utf8_lossy(class.name().map_or(&[], str::as_bytes)),
        String::from_utf8_lossy(Name::of(name).name)
    );
    let place = CString::new(place.replace('\0', "\\0")).unwrap_or_default();
    // SAFETY: the format takes a C string, which outlives the call.
    unsafe {
        if flags & ClassFlags::NoDynamicProperties.bits() != 0 {
            let format = c"Cannot create dynamic property %s";
            ffi::zend_throw_error(ptr::null_mut(), format.as_ptr(), place.as_ptr());
        } else if flags & ALLOW_DYNAMIC == 0 && !is_static(class, name) {
            let deprecated = c_int::try_from(ffi::E_DEPRECATED).unwrap_or(1 << 13);
            let format = c"Creation of dynamic property %s is deprecated";
            zend_error(deprecated, format.as_ptr(), place.as_ptr());
        }
    }
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    let key = ZendStr::new(name, false);
    let mut new = ManuallyDrop::new(value.shallow_clone());
    // SAFETY: the object is live, and its table is made its own before a write. The table takes
    // over the value's reference and copies the key.
    unsafe {
        let mut table = ffi::zend_std_get_properties(object);
        if (*table).gc.refcount > 1 {
            let own = ffi::zend_array_dup(table);
            (*table).gc.refcount -= 1;
            object.properties = own;
            table = own;
        }
        ffi::zend_hash_update(table, key.as_ptr().cast_mut(), &raw mut *new);
    }
    Ok(())
}
