"""Upper bound of what an encoder can see of relations of three compartments (docs/simulate.md).

    python benchmarks/relation_bound.py --seed 1 --steps 1500

The encoder of the recipe `demo-vit-mae` learns the true states of the compartments of single
cells, on fields of another seed. A well's profile is the mean over its cells of the ten products of
three predicted states. It prints the accuracy of the states, and the recall of relation pairs of
the screen of --seed (chance: .10) by predicted and by true states, with 95 % bootstrap intervals
over complexes. Crops are centred on cells, which an unsupervised network does not know either.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from phenomae.models.settings import VitMaeModel
from phenomae.models.vit.vit import Vit
from phenomae.simulation.cell_states import COMPARTMENTS, TRIPLES
from phenomae.simulation.cells import CHANNELS
from phenomae.simulation.design import Design, FieldPlace, design_plates
from phenomae.simulation.seeds import make_generator
from phenomae.simulation.simulate import SimulateSettings, draw_field, populate_field

_CROP = 64
_MODEL = VitMaeModel(
    crop_size=_CROP,
    patch_size=8,
    embed_dim=128,
    depth=6,
    num_heads=4,
    drop_path=0.0,
    layer_scale=1.0,
)
_Cells = list[tuple[str, np.ndarray, np.ndarray]]


def _plan(settings: SimulateSettings) -> Design:
    names = ("seed", "genes", "complexes", "guides", "batches", "controls", "effect")
    return design_plates(*(getattr(settings, name) for name in names), settings.values)


def draw_crops(settings: SimulateSettings, design: Design, fields: int | None = None) -> _Cells:
    """Return gene, crops (uint8) and states of the cells of every field whose centre is in it."""
    found: _Cells = []
    half, size = _CROP // 2, settings.field_size
    for plate, wells in enumerate(design.plate_map.partition_by("plate", maintain_order=True)):
        for row in wells.iter_rows(named=True):
            for site in range(1, settings.sites + 1):
                batch = int(row["batch"][1:]) - 1
                place = FieldPlace(plate, batch, row["well"], row["guide"], site)
                _, centres, cells, _ = populate_field(design, settings, place)
                image = draw_field(design, settings, place).astype(np.float32)
                low, high = np.percentile(image, (0.1, 99.9), axis=(1, 2))[:, :, None, None]
                scaled = (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
                padded = np.pad(scaled, ((0, 0), (half, half), (half, half)))
                tops = np.round(centres).astype(int)
                inside = np.flatnonzero(((tops >= 0) & (tops <= size)).all(axis=1))
                crops = [
                    padded[:, top : top + _CROP, left : left + _CROP] for top, left in tops[inside]
                ]
                if crops:
                    found.append((row["gene"], np.stack(crops), cells.states[inside]))
                if fields is not None and len(found) >= fields:
                    return found
    return found


def train(cells: _Cells, steps: int) -> nn.Sequential:
    """Return an encoder and head that predict the states of the cell in the middle of a crop."""
    torch.manual_seed(0)
    crops = torch.from_numpy(np.concatenate([crops for _, crops, _ in cells]))
    states = torch.from_numpy(np.concatenate([states for _, _, states in cells]))
    encoder, head = Vit(_MODEL, len(CHANNELS)), nn.Linear(128, len(COMPARTMENTS))
    model = nn.Sequential(encoder, head)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, steps)
    for step in range(steps):
        chosen = torch.randint(len(crops), (64,))
        turned = torch.rot90(crops[chosen], int(torch.randint(4, ())), (2, 3))
        loss = functional.soft_margin_loss(head(encoder.embed(turned)), states[chosen].float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    return model.eval()


@torch.inference_mode()
def predict(model: nn.Sequential, cells: _Cells) -> list[np.ndarray]:
    """Return the expected states, from -1 to 1, of the cells of every field."""
    encoder, head = model
    return [
        torch.tanh(head(encoder.embed(torch.from_numpy(crops))) / 2).numpy()
        for _, crops, _ in cells
    ]


def recall(genes: list[str], states: list[np.ndarray], design: Design) -> str:
    """Return the recall of relation pairs at 5 % + 5 %, and its interval, as text."""
    names = sorted({gene for gene in genes if gene != "non-targeting"})
    products = [
        np.stack([its[:, triple].prod(axis=1) for triple in TRIPLES], axis=1) for its in states
    ]
    control = np.concatenate(
        [its for gene, its in zip(genes, products, strict=True) if gene == "non-targeting"]
    ).mean(axis=0)
    profiles = np.stack(
        [
            np.concatenate(
                [its for gene, its in zip(genes, products, strict=True) if gene == name]
            ).mean(axis=0)
            for name in names
        ]
    )
    units = profiles - control
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ units.T
    low, high = np.percentile(cosines[np.triu_indices(len(names), 1)], (5, 95))
    hits: dict[str, list[bool]] = {}
    for first, second, complex_ in design.relationships.iter_rows():
        value = cosines[names.index(first), names.index(second)]
        hits.setdefault(complex_, []).append(bool(value <= low or value >= high))
    shares = np.array([np.mean(its) for its in hits.values()])
    drawn = make_generator(0).integers(len(shares), size=(10_000, len(shares)))
    ends = np.percentile(shares[drawn].mean(axis=1), (2.5, 97.5))
    return f"{shares.mean():.3f} ({ends[0]:.3f} to {ends[1]:.3f}), {len(hits)} complexes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--level", default="real")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fields", type=int, default=600, help="fields to train on")
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()
    settings = SimulateSettings(
        level=given.level, relation_complexes=1.0, intensity_complexes=0.0, seed=given.seed + 1000
    )
    model = train(draw_crops(settings, _plan(settings), given.fields), given.steps)
    unseen = replace(settings, seed=given.seed)
    design = _plan(unseen)
    cells = draw_crops(unseen, design)
    genes, truth = [gene for gene, _, _ in cells], [states for _, _, states in cells]
    predicted = predict(model, cells)
    right = (np.sign(np.concatenate(predicted)) == np.concatenate(truth)).mean(axis=0)
    for name, share in zip(COMPARTMENTS, right, strict=True):
        print(f"{name}: {share:.3f} of states right")
    print(f"recall by predicted states: {recall(genes, predicted, design)}")
    print(f"recall by true states: {recall(genes, truth, design)}")


if __name__ == "__main__":
    main()
