mod support;
use support::*;
#[tokio::test(flavor = "multi_thread")]
async fn look() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;

    for t in ["169.254.169.254:80","10.0.0.1:80","240.0.0.1:80","192.0.2.2:22"] { let b=std::time::Instant::now(); let r=ask(&sandbox, serde_json::json!({"connect":t})).await; println!("{t} {r} {:?}",b.elapsed()); }
    let gw=shell(&sandbox, "ip route").await; println!("{gw}"); let gw=gw.split(' ').nth(2).unwrap().to_owned();
    let b=std::time::Instant::now(); let r=ask(&sandbox, serde_json::json!({"resolve":format!("{gw}:5353")})).await; println!("udp {gw} {r} {:?}",b.elapsed());
    let b=std::time::Instant::now(); let r=ask(&sandbox, serde_json::json!({"resolve":format!("{gw}:53")})).await; println!("dns {gw} {r} {:?}",b.elapsed());
    server.close().await;
}
