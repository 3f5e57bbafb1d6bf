variable "name" {
  description = "Prefix of every resource's name, and name of the image repository."
  type        = string
}

variable "replicate_to" {
  description = "Regions that get a copy of every image."
  type        = list(string)
}

variable "github" {
  description = "Who may deploy: a GitHub repository (owner/name) and one of its environments; null: nobody from GitHub."
  type        = object({ repository = string, environment = string })
}

variable "github_provider_exists" {
  description = "Whether this AWS account trusts GitHub's tokens already; an account has one such provider."
  type        = bool
}

variable "cluster_arn" {
  description = "Cluster that is deployed to."
  type        = string
}

variable "role_arns" {
  description = "Roles that a deploy hands to the tasks."
  type        = list(string)
}
