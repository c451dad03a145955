use futures_util::FutureExt as _;
use tokio::sync::watch;

use super::*;

fn machine(cores: usize, each: usize, devices: usize, on_gpu: bool) -> Cores {
    let cores: Vec<Vec<usize>> = (0..cores).map(|core| vec![core]).collect();
    Cores::new(&cores, each, devices, on_gpu).unwrap()
}

fn set(text: &str) -> CoreSet {
    text.parse().unwrap()
}

#[test]
fn where_training_leaves_no_core_a_build_waits_its_turn() {
    let (_stop, mut signal) = watch::channel(false);
    let mut other = signal.clone();
    for (all, busy, left) in [(2, 2, None), (2, 8, None), (1, 1, None), (2, 1, Some("1")), (16, 1, Some("1-15"))] {
        let cores = machine(all, busy, 1, false);
        assert_eq!(cores.spare().map(ToString::to_string).as_deref(), left, "{busy} of {all}");
        let training = cores.train(0, &mut signal).now_or_never().flatten();
        assert!(training.as_ref().is_some_and(|turn| turn.beside().is_none()));
        let build = cores.build(&mut other).now_or_never().flatten();
        assert_eq!(build.map(|turn| turn.beside().cloned()), left.map(|left| Some(set(left))), "{busy} of {all}");
        drop(training);
        assert!(cores.build(&mut other).now_or_never().flatten().is_some());
    }
}

#[test]
fn several_devices_have_groups_of_cores_that_none_shares() {
    for (all, each, devices, groups, spare) in [
        (2, 1, 2, &["0", "1"][..], None),
        (8, 3, 2, &["0-2", "3-5"], Some("6-7")),
        (16, 4, 3, &["0-3", "4-7", "8-11"], Some("12-15")),
    ] {
        let cores = machine(all, each, devices, false);
        let found: Vec<String> = (0..devices).filter_map(|device| Some(cores.group(device)?.to_string())).collect();
        assert_eq!(found, groups);
        assert_eq!(cores.spare().map(ToString::to_string).as_deref(), spare);
    }
    assert_eq!(machine(8, 3, 1, false).group(0), None, "one alone keeps to nothing");
    assert_eq!(machine(8, 1, 4, true).group(2), None, "nor do GPUs");
    assert_eq!(machine(8, 1, 4, true).spare().map(CoreSet::count), Some(4));
    assert!(
        Cores::new(&[vec![0], vec![1], vec![2]], 2, 2, false).is_none(),
        "two of two on three cores would share one"
    );
    assert!(Cores::new(&[vec![0], vec![1], vec![2]], 8, 1, false).is_some(), "one alone has what there is");
}

#[test]
fn devices_share_no_physical_core_if_that_can_be() {
    let machine: Vec<Vec<usize>> = (0..4).map(|core| vec![core, core + 4]).collect();
    for (each, devices, found, left) in [
        // A thread of each core where there are enough; nobody else gets the core's other thread.
        (1, 2, &["0", "1"][..], &[2, 6, 3, 7][..]),
        (2, 2, &["0-1", "2-3"], &[]),
        // Else whole cores, and of the last one only what is wanted.
        (3, 2, &["0-1,4", "2-3,6"], &[]),
        (4, 2, &["0-1,4-5", "2-3,6-7"], &[]),
        (2, 3, &["0,4", "1,5", "2,6"], &[3, 7]),
        // Else what there is.
        (1, 6, &["0", "4", "1", "5", "2", "6"], &[3, 7]),
    ] {
        let (groups, rest) = groups(&machine, each, devices).unwrap();
        let written = groups.into_iter().map(|group| CoreSet::of(group).unwrap().to_string()).collect::<Vec<_>>();
        assert_eq!(
            (written.as_slice(), rest.as_slice()),
            (found.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(), left),
            "{devices} of {each}"
        );
    }
    assert_eq!(groups(&machine, 3, 3), None);
    // What a control group grants is spread over the cores.
    assert_eq!(granted(machine.clone(), 3), [[0], [1], [2]]);
    assert_eq!(granted(machine.clone(), 5), [vec![0, 4], vec![1], vec![2], vec![3]]);
    assert_eq!(granted(machine.clone(), 64), machine);
}

#[test]
fn a_build_has_the_cores_of_a_device_without_a_trial() {
    let (_stop, mut signal) = watch::channel(false);
    let mut other = signal.clone();
    let cores = machine(2, 1, 2, false);
    let one = cores.train(0, &mut signal).now_or_never().flatten().unwrap();
    let build = cores.build(&mut other).now_or_never().flatten().unwrap();
    assert_eq!(build.beside(), Some(&set("1")));
    assert!(cores.train(1, &mut signal).now_or_never().is_none(), "a trial would share them with the build");
    drop(build);
    let two = cores.train(1, &mut signal).now_or_never().flatten().unwrap();
    assert!(cores.build(&mut other).now_or_never().is_none());
    drop(one);
    assert_eq!(cores.build(&mut other).now_or_never().flatten().unwrap().beside(), Some(&set("0")));
    drop(two);
}

#[test]
fn an_evaluation_leaves_room_where_it_has_cores_of_its_own() {
    let trial = |cores| Room::Trial { cores: set(cores) };
    for (all, each, devices, on_gpu, room) in [
        (2, 2, 1, false, Room::Nothing),
        (1, 1, 1, false, Room::Nothing),
        (2, 1, 1, false, trial("1")),
        (16, 4, 1, false, trial("12-15")),
        (8, 5, 1, false, trial("5-7")),
        (8, 7, 1, false, Room::Nothing),
        (16, 1, 1, true, Room::Start),
        (1, 1, 1, true, Room::Nothing),
        (2, 1, 2, false, Room::Nothing),
        (8, 3, 2, false, trial("6-7")),
        (9, 4, 2, false, Room::Nothing),
        (16, 1, 4, true, Room::Start),
    ] {
        let cores = machine(all, each, devices, on_gpu);
        assert_eq!(*cores.beside_an_evaluation(), room, "{devices} with {each} of {all}, GPU: {on_gpu}");
    }
}

#[test]
fn who_waits_can_be_stopped() {
    let (stop, mut signal) = watch::channel(false);
    let mut other = signal.clone();
    let cores = machine(1, 1, 1, false);
    let _training = cores.train(0, &mut signal).now_or_never().flatten();
    stop.send(true).unwrap();
    assert!(matches!(cores.train(0, &mut other).now_or_never(), Some(None)));
    assert!(matches!(cores.build(&mut other).now_or_never(), Some(None)));
}
