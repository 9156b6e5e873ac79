//! The partition of a key, against what the Java client answers.

use highwater_kafka::{internals::murmur2, partition_for_key};

/// Key, `Utils.murmur2(key)`, and `Utils.toPositive(hash) % n` for 3, 7 and 100 partitions, as
/// kafka-clients 3.4.1 computes them.
const JAVA: &[(&str, i32, i32, i32, i32)] = &[
    ("", 275646681, 0, 2, 81),
    ("a", -1563381124, 1, 5, 24),
    ("ab", 316155434, 2, 0, 34),
    ("abc", 479470107, 0, 4, 7),
    ("abcd", -1323649548, 2, 5, 0),
    ("21", -973932308, 0, 3, 40),
    ("foobar", -790332482, 0, 0, 66),
    ("user-1", 1404122828, 2, 3, 28),
    ("user-2", -324981792, 2, 0, 56),
    ("user-42", 1459644460, 1, 1, 60),
    ("user-00001", 57861815, 2, 4, 15),
    ("a-little-bit-long-string", -985981536, 2, 1, 12),
    ("a-little-bit-longer-string", -1486304829, 2, 0, 19),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 2, 3, 77),
    ("ümläut", -1046324207, 0, 4, 41),
    ("日本", -700811021, 0, 1, 27),
    ("🚀 rocket", -1710445744, 1, 2, 4),
    ("0123456789abcdef0", 1856781438, 0, 1, 38),
];

#[test]
fn keys_hash_as_in_the_java_client() {
    for (key, hash, ..) in JAVA {
        assert_eq!(murmur2(key.as_bytes()) as i32, *hash, "{key:?}");
    }
}

#[test]
fn keys_go_to_the_partitions_the_java_client_chooses() {
    for (key, _, of_3, of_7, of_100) in JAVA {
        let chosen = [3, 7, 100].map(|partitions| partition_for_key(key.as_bytes(), partitions));
        assert_eq!(chosen, [*of_3, *of_7, *of_100], "{key:?}");
    }
}
