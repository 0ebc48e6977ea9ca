//! Archives, sound and not, made by hand: whoever checks or unpacks packages is tried with all of them.

use std::collections::BTreeMap;

use hob_core::Digest;
use hob_wire::{Manifest, PackagedFile};
use tar::{Builder, EntryType, Header};

/// An archive and whether it is one that Hob takes.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_sound: bool,
}

const DESCRIPTOR: &str =
    "service: orders\nkind: domain\npackage: {include: [bin]}\nprocesses: {web: {run: [bin/orders]}}\n";

/// One entry of an archive under construction.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) kind: EntryType,
    pub(crate) bytes: Vec<u8>,
    pub(crate) link: Option<String>,
    pub(crate) mode: u32,
    pub(crate) mtime: u64,
    pub(crate) size: Option<u64>,
}

impl Member {
    pub(crate) fn file(path: &str, bytes: &[u8], mode: u32) -> Self {
        let (path, bytes) = (path.to_owned(), bytes.to_vec());
        Self { path, kind: EntryType::Regular, bytes, link: None, mode, mtime: 0, size: None }
    }

    pub(crate) fn link(path: &str, to: &str) -> Self {
        Self { kind: EntryType::Symlink, link: Some(to.to_owned()), ..Self::file(path, b"", 0o644) }
    }
}

/// A package of these files: path, content, executable.
pub(crate) fn package(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
    archive(&members(&manifest(files, &[]), files, &[]))
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let files: &[(&str, &[u8], bool)] =
        &[("bin/orders", b"#!/bin/sh\n", true), ("data/menu.json", b"{}", false)];
    let links: &[(&str, &str)] = &[("bin/o", "orders"), ("here", "bin")];
    let sound = members(&manifest(files, links), files, links);
    let mut cases = Vec::new();
    let mut add = |name, bytes, is_sound| cases.push(Case { name, bytes, is_sound });
    add("sound", archive(&sound), true);
    add("empty of files", package(&[]), true);
    add("nothing", Vec::new(), false);
    add("no zstd", b"hob.json".to_vec(), false);
    add("cut short", archive(&sound)[..200].to_vec(), false);
    add("bytes after its end", [archive(&sound), b"more".to_vec()].concat(), false);
    add("a second frame", [archive(&sound), archive(&sound)].concat(), false);
    let mut change = |name, change: &dyn Fn(&mut Vec<Member>)| {
        let mut members = sound.clone();
        change(&mut members);
        add(name, archive(&members), false);
    };
    change("a file more", &|members| members.push(Member::file("files/more", b"", 0o644)));
    change("a file less", &|members| drop(members.remove(3)));
    change("other bytes", &|members| members[2].bytes[0] = b'!');
    change("other order", &|members| members.swap(2, 3));
    change("no manifest", &|members| drop(members.remove(0)));
    change("another descriptor", &|members| members[1].bytes[0] = b'S');
    change("setuid", &|members| members[2].mode = 0o4755);
    change("not executable", &|members| members[2].mode = 0o644);
    change("a time", &|members| members[2].mtime = 1);
    change("a device", &|members| members[2].kind = EntryType::Char);
    change("a hard link", &|members| members[2].kind = EntryType::Link);
    change("a path that leaves", &|members| members[2].path = "files/../../etc/passwd".to_owned());
    change("an absolute path", &|members| members[2].path = "/etc/passwd".to_owned());
    change("another link", &|members| members[4].link = Some("/etc/passwd".to_owned()));
    change("a size that is not there", &|members| members[3].size = Some(1 << 40));
    for (name, path) in [("manifest leaves", "../escaped"), ("manifest is absolute", "/tmp/escaped")] {
        let files: &[(&str, &[u8], bool)] = &[(path, b"x", false)];
        add(name, archive(&members(&manifest(files, &[]), files, &[])), false);
    }
    for (name, link) in
        [("link leaves", "../../escaped"), ("link is absolute", "/etc"), ("link leads nowhere", "no")]
    {
        add(name, archive(&members(&manifest(files, &[("bin/l", link)]), files, &[("bin/l", link)])), false);
    }
    let through: &[(&str, &[u8], bool)] = &[("bin/orders", b"", true), ("here/x", b"x", false)];
    add(
        "through a link",
        archive(&members(&manifest(through, &[("here", "bin")]), through, &[("here", "bin")])),
        false,
    );
    let future = Manifest { format: 2, ..manifest(files, &[]) };
    add("another format", archive(&members(&future, files, &[])), false);
    let mut huge = manifest(files, &[]);
    huge.files.values_mut().for_each(|file| file.size = u64::MAX);
    add("sizes that overflow", archive(&members(&huge, files, &[])), false);
    cases
}

fn manifest(files: &[(&str, &[u8], bool)], links: &[(&str, &str)]) -> Manifest {
    let file = |(path, bytes, executable): &(&str, &[u8], bool)| {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        ((*path).to_owned(), PackagedFile { digest, size, executable: *executable, link: None })
    };
    let link = |(path, to): &(&str, &str)| {
        let digest = Digest::of(to.as_bytes());
        (
            (*path).to_owned(),
            PackagedFile { digest, size: 0, executable: false, link: Some((*to).to_owned()) },
        )
    };
    let files: BTreeMap<_, _> = files.iter().map(file).chain(links.iter().map(link)).collect();
    let (format, name) = (Manifest::FORMAT, "orders".parse().unwrap());
    Manifest { format, name, git: None, files, descriptor: DESCRIPTOR.to_owned() }
}

fn members(manifest: &Manifest, files: &[(&str, &[u8], bool)], links: &[(&str, &str)]) -> Vec<Member> {
    let mut members = vec![
        Member::file("hob.json", &serde_json::to_vec(manifest).unwrap(), 0o644),
        Member::file("service.yml", manifest.descriptor.as_bytes(), 0o644),
    ];
    let mode = |executable: bool| if executable { 0o755 } else { 0o644 };
    members.extend(
        files.iter().map(|(path, bytes, executable)| {
            Member::file(&format!("files/{path}"), bytes, mode(*executable))
        }),
    );
    members.extend(links.iter().map(|(path, to)| Member::link(&format!("files/{path}"), to)));
    members
}

/// Writes headers by hand, since the library refuses what is tried here.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut archive = Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    for member in members {
        let mut header = Header::new_ustar();
        let raw = header.as_old_mut();
        raw.name[..member.path.len()].copy_from_slice(member.path.as_bytes());
        if let Some(link) = &member.link {
            raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        header.set_mtime(member.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(member.size.unwrap_or(member.bytes.len() as u64));
        header.set_cksum();
        archive.append(&header, member.bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
