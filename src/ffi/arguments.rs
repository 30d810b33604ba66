//! Checks the arguments of a call by the types that its function declares.
//!
//! The rules and messages are the engine's own for functions written in PHP: with the caller's
//! `strict_types`, a text is not a number; without, `"5"` becomes 5 where an `int` is declared.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::types::{ZendHashTable, ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, ExecuteData, ZendType, ce};

use super::bailout;
use super::throw::{self, Thrown};
use super::type_name::type_name;

unsafe extern "C" {
    fn zend_check_user_type_slow(
        type_: *mut ZendType,
        value: *mut Zval,
        reference: *mut ffi::zend_reference,
        cache: *mut *mut c_void,
        is_return_type: bool,
    ) -> bool;
    fn zend_type_to_string(type_: ZendType) -> *mut ffi::zend_string;
    fn zend_argument_error(class: *mut ClassEntry, number: u32, format: *const c_char, ...);
}

/// `ZEND_CALL_HAS_EXTRA_NAMED_PARAMS`, which is the same in every PHP since 8.2.
const HAS_NAMED: u32 = 1 << 27;
/// `ZEND_MODULE_API_NO` of PHP 8.3.
const API_OF_8_3: u32 = 20_230_831;
/// More classes than a type has. The engine keeps what it has looked up in a place for each.
const MOST_CLASSES: usize = 8;

/// Checks and converts the arguments of a call. If one has a wrong type, it throws a `TypeError`
/// and returns `false`.
///
/// # Safety
/// The frame must be that of the call in progress.
pub(super) unsafe fn check(frame: &mut ExecuteData) -> bool {
    // SAFETY: the frame has a function, whose parameters are described side by side, a variadic one
    // after the others. The arguments lie side by side, too.
    unsafe {
        let function = &(*frame.func).common;
        if function.fn_flags & (ffi::ZEND_ACC_HAS_TYPE_HINTS | ffi::ZEND_ACC_VARIADIC) == 0 {
            return true;
        }
        let (count, declared) = (frame.This.u2.num_args, function.num_args);
        let is_variadic = function.fn_flags & ffi::ZEND_ACC_VARIADIC != 0;
        for index in 0..count {
            if index >= declared && !is_variadic {
                break;
            }
            let param = function.arg_info.add(index.min(declared) as usize);
            let of = &raw mut (*param).type_;
            let Some(argument) = frame.zend_call_arg(index as usize) else {
                break;
            };
            if !accepts(of, argument) {
                refuse_type(index, *of, argument);
                return false;
            }
        }
        if is_variadic && let Some(named) = self::named(frame).as_mut() {
            let of = &raw mut (*function.arg_info.add(declared as usize)).type_;
            return check_named(named, of, count);
        }
    }
    !throw::is_pending()
}

/// Checks the arguments of a variadic parameter that were passed by name.
unsafe fn check_named(named: &mut ZendHashTable, of: *mut ZendType, count: u32) -> bool {
    let mut position: ffi::HashPosition = 0;
    let named = ptr::from_mut(named);
    let mut number = count;
    loop {
        // SAFETY: the table is the frame's own. The engine returns null beyond the end.
        let Some(argument) = (unsafe {
            ffi::zend_hash_get_current_data_ex(named, &raw mut position)
                .cast::<Zval>()
                .as_mut()
        }) else {
            return !throw::is_pending();
        };
        // SAFETY: the type is the function's own.
        if !unsafe { accepts(of, argument) } {
            // SAFETY: see above.
            refuse_type(number, unsafe { *of }, argument);
            return false;
        }
        number += 1;
        // SAFETY: see above.
        unsafe { ffi::zend_hash_move_forward_ex(named, &raw mut position) };
    }
}

/// Returns the arguments with names that no parameter has, or null.
///
/// # Safety
/// The frame must be that of the call in progress.
pub(super) unsafe fn named(frame: &ExecuteData) -> *mut ZendHashTable {
    // SAFETY: the flag says that the table is there.
    unsafe {
        if frame.This.u1.type_info & HAS_NAMED == 0 {
            ptr::null_mut()
        } else {
            frame.extra_named_params.cast()
        }
    }
}

/// Returns `true` if a value has a type, after a conversion that the caller's mode allows.
unsafe fn accepts(of: *mut ZendType, argument: &mut Zval) -> bool {
    // SAFETY: the type is a function's own. The value is the call's own.
    unsafe {
        if (*of).type_mask == 0 {
            return true;
        }
        if argument.is_reference() {
            // The conversion must not change a variable of the caller.
            let own = argument.dereference().shallow_clone();
            *argument = own;
        }
        let kind = argument.u1.type_info & 0xff;
        if (*of).type_mask & (1 << kind) != 0 {
            return true;
        }
        let mut cache = [ptr::null_mut::<c_void>(); MOST_CLASSES];
        let value = ptr::from_mut(argument);
        // The conversion may call PHP code: `__toString()`, an autoloader, an error handler.
        bailout::catch(|| {
            zend_check_user_type_slow(of, value, ptr::null_mut(), cache.as_mut_ptr(), false)
        })
        .unwrap_or(false)
    }
}

/// Throws the `TypeError` of an argument.
fn refuse_type(index: u32, of: ZendType, argument: &Zval) {
    if throw::is_pending() {
        return;
    }
    // SAFETY: the engine returns a string that we own.
    let wanted = unsafe {
        let text = zend_type_to_string(of);
        let wanted = text
            .as_ref()
            .map(|text: &ZendStr| String::from_utf8_lossy(text.as_bytes()).into_owned());
        if !text.is_null() {
            ffi::ext_php_rs_zend_string_release(text);
        }
        wanted.unwrap_or_default()
    };
    // PHP says since 8.3 which of the two it is.
    let given = match argument.bool() {
        Some(truth) if ffi::ZEND_MODULE_API_NO >= API_OF_8_3 => truth.to_string(),
        _ => type_name(argument),
    };
    let why = format!("must be of type {wanted}, {given} given");
    error(ce::type_error(), index, &why);
}

/// Throws the `ValueError` of an argument.
pub(super) fn refuse(index: usize, why: &str) -> Thrown {
    if !throw::is_pending() {
        error(ce::value_error(), u32::try_from(index).unwrap_or(0), why);
    }
    Thrown::Pending
}

fn error(class: &ClassEntry, index: u32, why: &str) {
    let why = CString::new(why.replace('\0', "\\0")).unwrap_or_default();
    let class = ptr::from_ref(class).cast_mut();
    // SAFETY: the format takes a C string, which outlives the call.
    let throw = || unsafe {
        zend_argument_error(class, index + 1, c"%s".as_ptr(), why.as_ptr());
    };
    // If it bails out, the bailout continues after the call has ended.
    let _ = bailout::catch(throw);
}
