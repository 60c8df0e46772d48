import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from classifier_segment.coco import CocoDataset, find_problems, image_folder, read_coco, read_coco_image
from classifier_segment.curation.census import format_census, take_census
from classifier_segment.curation.simplify import read_class_map, simplify
from classifier_segment.curation.split import Shares, groups_of_field, groups_of_table, split_by_class, split_by_group
from classifier_segment.masks import draw_polygons, is_outside, is_partly_outside, read_run_lengths
from medsynth.errors import DataError, UsageError
from tests.coco_files import SQUARE, annotation, balanced, document, image, write, write_images

DATA = Path(os.environ.get("MEDSYNTH_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
BUSI = DATA / "breast_ultrasound_busi"

# A mask [5, 7] and its text as pycocotools 2.0.11 writes it, and a disc [40, 30] likewise.
NOISE = np.array(
    [[0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1], [0, 1, 0, 0, 1, 1, 1], [1, 0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0]],
    np.uint8,
)
NOISE_TEXT = "3110001020O0N31M11O"
DISC_TEXT = "P89n02M4N0O2N2O0000000000000001N2N102L3Ni5"


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], folder: Path) -> CocoDataset:
    return read_coco(write(folder / "dataset.json", document(images, annotations)))


# Masks.


def test_polygons_include_their_outline_and_are_cut_off_at_the_edge() -> None:
    mask = draw_polygons([tuple(SQUARE)], 16, 20)
    assert mask.dtype == np.uint8
    expected = np.zeros((16, 20))
    expected[4:12, 4:12] = 1
    np.testing.assert_array_equal(mask, expected)
    beyond = draw_polygons([(-5.0, -5.0, 3.0, -5.0, 3.0, 100.0, -5.0, 100.0)], 16, 20)
    np.testing.assert_array_equal(beyond, np.tile(np.arange(20) < 4, (16, 1)))


def test_polygons_agree_with_a_second_drawing_inside_and_outside() -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = 30 + 8 * np.cos(5 * angles)
    points = np.stack([50 + radius * np.cos(angles), 45 + radius * np.sin(angles)], axis=1)
    mine = draw_polygons([tuple(points.ravel())], 90, 100)
    theirs = polygon2mask((90, 100), points[:, ::-1])
    both, either = (mine & theirs).sum(), (mine | theirs).sum()
    assert theirs.sum() > 2500
    assert both / either > 0.95


def test_overlapping_polygons_add_up() -> None:
    twice = draw_polygons([tuple(SQUARE), tuple(SQUARE)], 16, 20)
    assert twice.max() == 1
    assert twice.sum() == 64


@pytest.mark.parametrize(
    ("shift", "partly", "wholly"), [(0, False, False), (11, True, False), (-4.5, False, False), (30, True, True)]
)
def test_outside(shift: float, partly: bool, wholly: bool) -> None:
    moved = tuple(value + shift if place % 2 == 0 else value for place, value in enumerate(SQUARE))
    assert (is_partly_outside(moved, 16, 20), is_outside(moved, 16, 20)) == (partly, wholly)


def test_run_lengths_are_read_as_the_usual_tool_writes_them() -> None:
    compressed = read_run_lengths({"size": [5, 7], "counts": NOISE_TEXT}, 5, 7)
    np.testing.assert_array_equal(compressed.mask(), NOISE)
    assert (compressed.area, compressed.is_compressed) == (NOISE.sum(), True)
    columns = NOISE.T.ravel()
    counts = [len(list(run)) for _, run in itertools.groupby(columns)]
    plain = read_run_lengths({"size": [5, 7], "counts": [0] * int(columns[0]) + counts}, 5, 7)
    np.testing.assert_array_equal(plain.mask(), NOISE)
    assert not plain.is_compressed
    y, x = np.mgrid[:40, :30]
    disc = (x - 15) ** 2 + (y - 20) ** 2 < 100
    np.testing.assert_array_equal(read_run_lengths({"size": [40, 30], "counts": DISC_TEXT}, 40, 30).mask(), disc)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ({"size": [7, 5], "counts": NOISE_TEXT}, "size"),
        ({"counts": NOISE_TEXT}, "size"),
        ({"size": [5, 7], "counts": [35, 1]}, "add up to its 35 pixels"),
        ({"size": [5, 7], "counts": [36, -1]}, "negative"),
        ({"size": [5, 7], "counts": [1.5, 33.5]}, "whole numbers"),
        ({"size": [5, 7], "counts": NOISE_TEXT[:-2]}, "add up|middle of a number"),
        ({"size": [5, 7], "counts": "U"}, "middle of a number"),
        ({"size": [5, 7], "counts": "3 \u00e4"}, "characters"),
        ({"size": [5, 7]}, "counts"),
    ],
)
def test_wrong_run_lengths_are_refused(outline: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_run_lengths(outline, 5, 7)


def test_the_published_rule_draws_one_polygon_of_the_first_annotation(tmp_path: Path) -> None:
    triangle, far = [0, 0, 3, 0, 0, 3], [14, 0, 19, 0, 19, 5, 16, 5, 14, 5]
    crowd = {"size": [16, 20], "counts": [16 * 19, 16]}
    images = [image(1), image(2), image(3)]
    lesions = [annotation(5, 1, 1, [triangle, SQUARE]), annotation(4, 1, 2, [far]), annotation(6, 2, 1, crowd)]
    dataset = coco(images, lesions, tmp_path)
    first, second, third = dataset.images
    np.testing.assert_array_equal(dataset.mask_of(first, "largest"), draw_polygons([tuple(SQUARE)], 16, 20))
    everything = draw_polygons([tuple(triangle), tuple(SQUARE), tuple(far)], 16, 20)
    np.testing.assert_array_equal(dataset.mask_of(first, "all"), everything)
    for rule in ("largest", "all"):
        np.testing.assert_array_equal(dataset.mask_of(second, rule), np.tile(np.arange(20) == 19, (16, 1)))
        assert not dataset.mask_of(third, rule).any()
    with pytest.raises(UsageError, match="largest, all"):
        dataset.mask_of(first, "biggest")


@pytest.mark.parametrize(("classes", "expected"), [((3, 3, 1), 3), ((3, 1), 1), ((2,), 2), ((), None)])
def test_the_class_of_an_image(tmp_path: Path, classes: tuple[int, ...], expected: int | None) -> None:
    lesions = [annotation(number, 1, category) for number, category in enumerate(classes)]
    dataset = coco([image(1)], lesions, tmp_path)
    assert dataset.class_of(dataset.images[0]) == expected


def test_the_field_label_counts_without_annotation_only(tmp_path: Path) -> None:
    dataset = coco([image(1, label="b"), image(2, label="b")], [annotation(1, 2, 3)], tmp_path)
    assert [dataset.class_of(one) for one in dataset.images] == [2, 3]


# What does not fit.


def change(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of the first record of a list, or of the whole list."""

    def apply(content: dict[str, Any]) -> None:
        for name, value in changes.items():
            if isinstance(value, dict):
                content[name][0].update(value)
            else:
                content[name] = value

    return apply


def append(name: str, record: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[name].append(record)


WRONG = {
    "annotation without image": (change(annotations={"image_id": 9}), r"annotation 1: Its image_id .* Received: 9"),
    "annotation without category": (change(annotations={"category_id": 9}), "annotation 1: Its category_id"),
    "category without name": (change(categories={"name": " "}), "category 1: A category has a name"),
    "two categories of one name": (change(categories={"name": "b"}), "category 2: Category 1 has this name"),
    "image id twice": (append("images", image(1)), "image 1: An id stands once"),
    "annotation id twice": (append("annotations", annotation(1, 2, 2)), "annotation 1: An id stands once"),
    "category id twice": (append("categories", {"id": 1, "name": "d"}), "category 1: An id stands once"),
    "file twice": (append("images", image(7, file_name="1.png")), "image 7: Image 1 has this file_name"),
    "no id": (append("images", {"file_name": "x.png"}), "image at place 2: A record is .* Received: id None"),
    "id of text": (append("images", {"id": "3"}), "image at place 2: .* Received: id '3'"),
    "no record": (append("annotations", 5), "annotation at place 2: .* Received: 5"),
    "no file name": (change(images={"file_name": ""}), "image 1: An image has a file_name"),
    "file outside": (change(images={"file_name": "../1.png"}), "image 1: A file_name stays within"),
    "no width": (change(images={"width": 0}), "image 1: Height and width"),
    "height of text": (change(images={"height": "16"}), "image 1: Height and width"),
    "unknown label": (change(images={"label": "z"}), "image 1: The field `label`"),
    "two points": (change(annotations={"segmentation": [[1, 2, 3, 4]]}), "polygon 1: .*three points.* Received: 2"),
    "odd": (change(annotations={"segmentation": [SQUARE, SQUARE[:-1]]}), "polygon 2: .*as many x as y.* 7 numbers"),
    "not finite": (change(annotations={"segmentation": [[float("nan"), *SQUARE[1:]]]}), "finite numbers"),
    "far": (change(annotations={"segmentation": [[1e9, *SQUARE[1:]]]}), "finite numbers"),
    "flat list": (change(annotations={"segmentation": SQUARE}), "polygon 1: A polygon is a list"),
    "a word": (change(annotations={"segmentation": "x"}), "A segmentation is a list"),
    "run lengths": (change(annotations={"segmentation": {"size": [1, 1], "counts": [1]}}), "size"),
}


def small() -> dict[str, Any]:
    return document([image(1), image(2)], [annotation(1, 1, 1), annotation(2, 2, 2)])


def test_what_fits_has_no_problem() -> None:
    assert list(find_problems(small())) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str) -> None:
    apply, message = WRONG[name]
    content = small()
    apply(content)
    with pytest.raises(DataError, match=message) as caught:
        read_coco(write(tmp_path / "d.json", content))
    assert str(caught.value).startswith(f"{tmp_path / 'd.json'}: ")


def test_every_problem_is_found_and_the_first_one_says_how_many(tmp_path: Path) -> None:
    content = small()
    for name in ("annotation without image", "no width", "two points"):
        WRONG[name][0](content)
    content["annotations"].append(annotation(3, 2, 2, [[1, 2, 3, 4]]))
    assert [problem.record for problem in find_problems(content)] == [
        "image 1",
        "annotation 1",
        "annotation 3, polygon 1",
    ]
    with pytest.raises(DataError, match=r"image 1: .*3 such problems"):
        read_coco(write(tmp_path / "d.json", content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [{"id": 1', "not valid JSON"),
        ("[]", "an object with the lists images, annotations, categories"),
        ('{"images": [], "annotations": {}}', "no list annotations, categories"),
        ("\udc80", "not valid JSON"),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message):
        read_coco(tmp_path / "d.json")
    with pytest.raises(DataError, match="no such file"):
        read_coco(tmp_path / "absent.json")


def test_images(tmp_path: Path) -> None:
    records = [image(1), image(2)]
    write_images(tmp_path, records)
    Image.fromarray(np.full((16, 20), 1000, np.uint16)).save(tmp_path / "2.png")
    dataset = coco(records, [], tmp_path)
    pixels = [read_coco_image(tmp_path, one) for one in dataset.images]
    assert [(one.shape, one.dtype) for one in pixels] == [((16, 20, 3), np.uint8)] * 2
    assert (pixels[1] == 255).all()
    turned = coco([image(1, width=16, height=20)], [], tmp_path)
    with pytest.raises(DataError, match=r"1\.png: 16x20 pixels were expected.* Received: 20x16"):
        read_coco_image(tmp_path, turned.images[0])


def test_where_images_lie(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    assert image_folder(path) == tmp_path
    for name in ("images", "oral1", "mine"):  # the published one comes first
        (tmp_path / name).mkdir()
        assert image_folder(path) == tmp_path / (name if name != "mine" else "oral1")
    assert image_folder(path, "mine") == tmp_path / "mine"
    with pytest.raises(DataError, match="no such folder"):
        image_folder(path, "absent")


# Numbers.


def test_the_census_counts_what_is_odd(tmp_path: Path) -> None:
    outside, partly = [50, 50, 60, 50, 60, 60], [10, 10, 30, 10, 10, 14]
    plain, text = {"size": [16, 20], "counts": [320]}, {"size": [16, 20], "counts": "P:"}
    images = [*(image(number) for number in range(1, 6)), image(6, label="c")]
    lesions = [
        annotation(1, 1, 1, [SQUARE, partly]), annotation(2, 1, 2, [outside]), annotation(3, 2, 1, plain),
        annotation(4, 3, 1, text), annotation(5, 4, 1, []),
    ]  # fmt: skip
    census = take_census(coco(images, lesions, tmp_path))
    assert list(census.oddities.values()) == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert dict(census.images_of_class) == {"a": 4, "b": 0, "c": 1}
    assert dict(census.annotations_of_class) == {"a": 4, "b": 1, "c": 0}
    assert census.empty_classes == ("b",)
    assert "polygons wholly outside of their image: 1" in format_census(census)
    fewer = take_census(coco(images[:1], lesions[:1], tmp_path))
    assert format_census(fewer).count("outside") == 1


# Simplify.


def test_the_oral_map_is_shipped() -> None:
    assert read_class_map("oral") == {
        "neoplastic": ("neoplastica",),
        "aphthous": ("ALU", "aftosa_maior", "aftosa"),
        "traumatic": ("traumatica_cronica", "traumatica_acuta"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("new: [a, b\n", "not valid yaml"), ("- a\n", "A line for each new class"), ("", "A line for each"),
        ("new: a\n", "A line for each"), ("new: [1]\n", "A line for each"), ("new: []\n", "A line for each"),
        ("new: [a]\nother: [b, a]\n", "becomes one new class.* Received: a in several"),
        ("!!python/object:os.system {}\n", "not valid yaml"),
    ],
)  # fmt: skip
def test_maps_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_map(str(tmp_path / "map.yaml"))


def test_simplify_drops_and_renames_labels_too(tmp_path: Path) -> None:
    images = [image(1), image(2), image(3), image(4, label="a"), image(5, label="c"), image(6)]
    lesions = [annotation(1, 1, 1, note="kept"), annotation(2, 1, 3), annotation(3, 2, 3), annotation(4, 3, 2)]
    path = write(tmp_path / "dataset.json", document(images, lesions, info={"year": 2020}))
    simple = simplify(read_coco(path), {"x": ("b",), "y": ("a",)}, tmp_path / "simple.json")
    simple.write()
    content = json.loads((tmp_path / "simple.json").read_text())
    assert content["info"] == {"year": 2020}
    assert [(one["id"], one["name"]) for one in content["categories"]] == [(1, "x"), (2, "y")]
    assert [(one["id"], one["category_id"], one.get("note")) for one in content["annotations"]] == [
        (1, 2, "kept"), (4, 1, None)
    ]  # fmt: skip
    assert [(one["id"], one.get("label")) for one in content["images"]] == [(1, None), (3, None), (4, "y")]
    with pytest.raises(DataError, match="--classes"):
        simplify(simple, read_class_map("oral"), tmp_path / "other.json")


# Split.


def test_split_by_class_rounds_down_and_leaves_out_what_has_no_class(tmp_path: Path) -> None:
    dataset = read_coco(balanced(tmp_path, 30))
    bare = coco(
        [*(one.fields for one in dataset.images), image(99)], [one.fields for one in dataset.annotations], tmp_path
    )
    parts = split_by_class(bare, Shares(0.75, 0.15), 42)
    assert [len(part.images) for part in parts.values()] == [21, 3, 6]
    found = sorted(one.id for part in parts.values() for one in part.images)
    assert found == list(range(1, 31))
    assert all(len(part.annotations) == len(part.images) for part in parts.values())
    assert split_by_class(bare, Shares(0.75, 0.15), 42) == parts
    assert split_by_class(bare, Shares(0.75, 0.15), 43) != parts


@pytest.mark.parametrize("shares", [(70, 15), (0.9, 0.2), (0, 0.5), (0.5, -0.1), (float("nan"), 0.1)])
def test_shares_that_are_none(tmp_path: Path, shares: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="--train-perc"):
        split_by_class(read_coco(balanced(tmp_path, 3)), Shares(*shares), 42)


def test_groups_are_never_divided_and_classes_keep_their_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [image(number, patient_id=int(rng.integers(60))) for number in range(1, 241)]
    lesions = [annotation(one["id"], one["id"], 1 + one["patient_id"] % 3) for one in images]
    dataset = coco(images, lesions, tmp_path)
    groups = groups_of_field(dataset, "patient_id")
    by_image = split_by_class(dataset, Shares(), 42)
    parts = split_by_group(dataset, groups, Shares(), 42)

    def patients(part: CocoDataset) -> set[str]:
        return {groups[one.id] for one in part.images}

    assert patients(by_image["train"]) & patients(by_image["test"]), "premise: image by image they are divided"
    for first, second in itertools.combinations(parts.values(), 2):
        assert not patients(first) & patients(second)
    assert sum(len(part.images) for part in parts.values()) == 240
    for name, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        census = take_census(parts[name])
        whole = take_census(dataset)
        for kind, number in census.images_of_class.items():
            assert number / whole.images_of_class[kind] == pytest.approx(share, abs=0.06)


def test_groups_of_a_table(tmp_path: Path) -> None:
    dataset = read_coco(balanced(tmp_path, 3))
    table = tmp_path / "groups.csv"
    table.write_text("image,group\nimages/1.png,x\nimages/2.png,x\n3.png,y\nimages/4.png,z\n")
    assert groups_of_table(dataset, table, "group") == {1: "x", 2: "x", 3: "y"}
    table.write_text("image,group\n1.png,x\n2.png,x\n3.png,y\nother/3.png,z\n")
    assert groups_of_table(dataset, table, "group")[3] == "y", "the whole name counts more than its end"
    for text, message in (
        ("image,group\n1.png,x\n2.png,\n3.png,y\n", r"One group for 2\.png .*Received: none"),
        ("image,group\n1.png,x\n2.png,x\n", r"One group for 3\.png"),
        ("image,group\n1.png,x\n2.png,x\n3.png,x\n3.png,y\n", r"One group for 3\.png.*Received: x, y"),
        ("image,group\n1.png,x\n2.png,x\nu/3.png,x\nv/3.png,y\n", r"One group for 3\.png.*Received: x, y"),
        ("image,other\n1.png,x\n", r"'group' \(--group-by\)"),
        ("picture,group\n1.png,x\n", "for the images"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            groups_of_table(dataset, table, "group")


def test_groups_that_cannot_be_dealt(tmp_path: Path) -> None:
    dataset = read_coco(balanced(tmp_path, 6, patient_id="p"))
    with pytest.raises(DataError, match="Received: 1 group"):
        split_by_group(dataset, groups_of_field(dataset, "patient_id"), Shares(), 42)
    with pytest.raises(UsageError, match="none of which may be empty"):
        split_by_group(dataset, {one.id: str(one.id) for one in dataset.images}, Shares(0.8, 0.2), 42)
    with pytest.raises(DataError, match="Image 1 needs a field 'clinic'"):
        groups_of_field(dataset, "clinic")


# Real data.


def test_outlines_of_real_masks() -> None:
    path = BUSI / "annotations.coco.json"
    if not path.is_file():
        pytest.skip("breast_ultrasound_busi is not below MEDSYNTH_DATA")
    dataset = read_coco(path)
    assert take_census(dataset).images_of_class == {"benign": 291, "malignant": 140, "normal": 89}
    overlaps = []
    for record in [one for one in dataset.images if one.id in dataset.of_image][::10]:
        with Image.open(BUSI / "masks" / record.file_name.replace(".jpg", ".png")) as picture:
            real = np.asarray(picture) > 0
        drawn = dataset.mask_of(record, "all") > 0
        overlaps.append((drawn & real).sum() / (drawn | real).sum())
    assert len(overlaps) > 40
    assert min(overlaps) > 0.95
