"""Run by the interpreter that has ifBO: a network of FT-PFN's form, its weights drawn at random."""

import sys
from pathlib import Path

import torch
from ifbo import encoders, positional_encodings
from ifbo.bar_distribution import BarDistribution
from ifbo.download import FILENAME, WEIGHTS_FINAL_NAME
from ifbo.priors.ftpfn_prior import get_encoder
from ifbo.transformer import TransformerModel

WIDTH, BARS = 16, 10
folder = Path(sys.argv[1]) / ".model"
folder.mkdir()
torch.manual_seed(int(sys.argv[2]))
model = TransformerModel(
    get_encoder()(12, WIDTH),
    WIDTH,
    nhead=2,
    nhid=WIDTH,
    nlayers=2,
    y_encoder=encoders.Linear(1, WIDTH),
    pos_encoder=positional_encodings.NoPositionalEncoding(WIDTH, 1),
    decoder_dict={"standard": (None, BARS)},
)
for weights in model.parameters():
    torch.nn.init.normal_(weights, std=0.5)
model.criterion = BarDistribution(torch.linspace(0.0, 1.0, BARS + 1))
torch.save(model, folder / WEIGHTS_FINAL_NAME("0.0.1"))
(folder / FILENAME("0.0.1")).touch()  # ifBO looks whether its archive is there, never into it
