"""What a bundle is made of, told in manifest, SBOM and licences."""
