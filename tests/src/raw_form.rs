//! Posts as the bytes of a form, as a browser writes them: for whoever sends them one by one.

use crate::pictures::Picture;

/// The media type of what [`raw_form`] makes.
pub const RAW_FORM: &str = "multipart/form-data; boundary=----triptych-test-boundary";
const BOUNDARY: &str = "----triptych-test-boundary";

/// A form with these fields and pictures.
#[must_use]
pub fn raw_form(fields: &[(&str, &str)], pictures: &[&Picture]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.as_bytes());
    }
    for Picture { name, declared, bytes } in pictures {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"upfile\"; filename=\"{name}\"\r\n\
             Content-Type: {declared}\r\n\r\n"
        );
        body.extend(head.as_bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}
