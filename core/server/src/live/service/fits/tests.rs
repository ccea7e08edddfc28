use super::*;
use crate::config::Config;
use crate::live::{LiveService, Publisher};
use crate::proxies::Proxies;
use crate::serve::Limits;
use tokio::sync::{Semaphore, watch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smaller_renditions_are_made_where_they_may_and_can_be() {
    let mut config = Config::default();
    config.server.host = "127.0.0.1".into();
    (config.live.rtmp_port, config.live.webrtc_port) = (None, Some(0));
    let connections = Arc::new(Semaphore::new(1));
    let limits = Limits { head_timeout: Duration::from_secs(1), connections, proxies: Proxies::new(&[]) };
    let (_end, ending) = watch::channel(false);
    for adapt in [false, true] {
        config.live.webrtc_adapt = adapt;
        let (mut service, _tasks) = LiveService::start(&config, &limits, &ending).await.unwrap();
        assert!(format!("{:?}", service.webrtc).contains(&format!("smaller: {adapt}")));

        let _publication = service.live.publish("s", Publisher::new("test", None)).unwrap();
        let mut ladder = TranscodeSpec::webrtc();
        ladder.rungs = vec![ladder.rungs[0].clone(); 2];
        ladder.rungs[1].lines = 0;
        service.ladder = Some(ladder);
        let failed = |service: &LiveService| {
            assert!(service.fit("s", For::Narrow).is_none());
            let fits = lock(&service.fits.all);
            fits.values().next().map(|f| (f.transcode.is_none(), f.wanted)).unwrap()
        };
        let first = failed(&service);
        assert_eq!((first.0, failed(&service)), (true, first), "it is not tried again at once");
        lock(&service.fits.all).values_mut().for_each(|f| f.wanted -= RETRY);
        assert!(failed(&service).1 >= first.1, "but later");
        service.ladder = None;
        lock(&service.fits.all).values_mut().for_each(|f| f.wanted -= RETRY);
        assert!(service.fit("s", For::Narrow).is_some());
    }
}
