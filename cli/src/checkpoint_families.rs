//! Which published models are read, where their weights are, and the command for each: one table, for `descry export --list`
//! and for docs/CHECKPOINTS.md.

use crate::output::say;

/// What one repository publishes.
struct Family {
    name: &'static str,
    published: &'static str,
    /// Rank-1 on CUHK-PEDES, ICFG-PEDES and RSTPReid as its authors report it, where it is known here.
    rank_1: &'static str,
    /// Only what its authors' own pages say; else "ask".
    weights: &'static str,
    command: &'static str,
}

const FAMILIES: [Family; 13] = [
    Family {
        name: "CLIP, Hugging Face form",
        published: "ICML 2021",
        rank_1: "not trained on people",
        weights: "on the hub; code under MIT",
        command: "descry export --checkpoint hf://openai/clip-vit-base-patch16 --out bundles/clip",
    },
    Family {
        name: "CLIP, OpenAI's own file",
        published: "ICML 2021",
        rank_1: "not trained on people",
        weights: "where the command takes it from; code under MIT",
        command: "descry export --checkpoint https://openaipublic.azureedge.net/clip/models/\
                  5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f/ViT-B-16.pt --sha256 \
                  5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f --out bundles/clip",
    },
    Family {
        name: "OpenCLIP",
        published: "CVPR 2023",
        rank_1: "not trained on people",
        weights: "on the hub",
        command: "descry export --checkpoint hf://laion/CLIP-ViT-B-16-laion2B-s34B-b88K/open_clip_model.safetensors \
                  --out bundles/openclip",
    },
    Family {
        name: "IRRA",
        published: "CVPR 2023",
        rank_1: "73.38 / 63.46 / 60.20",
        weights: "models with their logs for all three data sets are linked from github.com/anosorae/IRRA; code under MIT",
        command: "descry export --checkpoint runs/irra/best.pth --out bundles/irra",
    },
    Family {
        name: "MLLM4Text-ReID",
        published: "CVPR 2024",
        rank_1: "",
        weights: "ask the authors' repository, github.com/WentaoTan/MLLM4Text-ReID",
        command: "descry export --checkpoint runs/mllm4text/best.pth --out bundles/mllm4text",
    },
    Family {
        name: "HAM",
        published: "CVPR 2025",
        rank_1: "",
        weights: "the pretrained model, and IRRA fine-tuned from it on CUHK-PEDES, are linked from github.com/sssaury/HAM",
        command: "descry export --checkpoint runs/ham/best.pth --out bundles/ham",
    },
    Family {
        name: "GA-DMS",
        published: "EMNLP 2025",
        rank_1: "",
        weights: "the pretrained model is linked from github.com/Multimodal-Representation-Learning-MRL/GA-DMS",
        command: "descry export --checkpoint runs/ga-dms/best.pth --out bundles/ga-dms",
    },
    Family {
        name: "FMFA",
        published: "ACM TOMM 2026",
        rank_1: "",
        weights: "ask the authors' repository, github.com/yinhao1102/FMFA",
        command: "descry export --checkpoint runs/fmfa/best.pth --out bundles/fmfa",
    },
    Family {
        name: "RDE",
        published: "CVPR 2024",
        rank_1: "75.94 / 67.68 / 65.35",
        weights: "Yangsss/RDE on the hub, linked from github.com/QinYang79/RDE; code under Apache-2.0",
        command: "descry export --checkpoint runs/rde/best.pth --out bundles/rde",
    },
    Family {
        name: "ICL",
        published: "CVPR 2025",
        rank_1: "",
        weights: "announced; ask the authors' repository, github.com/QinYang79/ICL; code under Apache-2.0",
        command: "descry export --checkpoint runs/icl/best.pth --out bundles/icl",
    },
    Family {
        name: "TBPS-CLIP",
        published: "AAAI 2024",
        rank_1: "73.54 / 65.05 / 62.10",
        weights: "github.com/Flame-Chasers/TBPS-CLIP links none: train your own; code under MIT",
        command: "descry export --checkpoint runs/tbps-clip/checkpoint_best.pth --out bundles/tbps-clip",
    },
    Family {
        name: "DM-Adapter",
        published: "AAAI 2025",
        rank_1: "",
        weights: "none are published: train your own, `descry train` does it too",
        command: "descry export --checkpoint runs/dm-adapter/best.pth --out bundles/dm-adapter",
    },
    Family {
        name: "UP-Person",
        published: "TCSVT 2025",
        rank_1: "",
        weights: "github.com/Liu-Yating/UP-Person links none: train your own, `descry train` does it too",
        command: "descry export --checkpoint runs/up-person/best.pth --out bundles/up-person",
    },
];

/// Prints the table, a paragraph a family.
pub(crate) fn print() {
    for (number, Family { name, published, rank_1, weights, command }) in FAMILIES.iter().enumerate() {
        say!("{}{name} ({published})", if number == 0 { "" } else { "\n" });
        if !rank_1.is_empty() {
            say!("  reported Rank-1  {rank_1}");
        }
        say!("  weights          {}", weights.replace('`', ""));
        say!("  command          {command}");
    }
    say!(
        "\nRank-1 is that on CUHK-PEDES, ICFG-PEDES and RSTPReid. Files named best.pth lie beside their run's configs.yaml."
    );
    say!("docs/CHECKPOINTS.md says more.");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is written by hand around the table, so it is compared with it.
    #[test]
    fn the_page_has_the_same_table() {
        let rows = FAMILIES.iter().map(|Family { name, published, rank_1, weights, command }| {
            format!("| {name} | {published} | {rank_1} | {weights} | `{command}` |\n")
        });
        let table = "| family | published | reported Rank-1 | weights | command |\n|---|---|---|---|---|\n".to_owned()
            + &rows.collect::<String>();
        let page = include_str!("../../docs/CHECKPOINTS.md");
        assert!(page.contains(&table), "docs/CHECKPOINTS.md must have this table:\n{table}");
    }
}
