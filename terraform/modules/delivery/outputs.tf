output "repository_url" {
  description = "Where images are pushed to."
  value       = aws_ecr_repository.this.repository_url
}

output "repository_arn" {
  description = "ARN of the image repository."
  value       = aws_ecr_repository.this.arn
}

output "deploy_role_arn" {
  description = "Role of GitHub Actions; null when there is none."
  value       = one(aws_iam_role.deploy[*].arn)
}

output "repository" {
  description = "How the image repository is set, for tests."
  value       = { tags = aws_ecr_repository.this.image_tag_mutability, scans = aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push }
}

output "deploy" {
  description = "What GitHub Actions may do, and who of it, for tests; null when there is no role."
  value = var.github == null ? null : {
    trust  = jsondecode(aws_iam_role.deploy[0].assume_role_policy)
    policy = jsondecode(aws_iam_role_policy.deploy[0].policy)
  }
}
