namespace SafePool.Reports;

/// <summary>A diagnosis in one sentence.</summary>
internal static class DiagnosisSentences
{
    private const string Page = "docs/verdicts.md";

    public static string HelpLink(PoolVerdict verdict) => $"{Page}#{verdict.ToString().ToLowerInvariant()}";

    /// <summary>The verdict with its evidence and remedy; the next cause besides, if there is one.</summary>
    public static string Describe(Diagnosis diagnosis)
    {
        var first = diagnosis.Evidence[0];
        var besides = diagnosis.Evidence.Length > 1 && diagnosis.Evidence[1].Verdict != PoolVerdict.Undersized
            ? $" Besides, {Sentences.Name(diagnosis.Evidence[1].Verdict)}: {Uncapitalized(diagnosis.Evidence[1].Text)}"
            : "";
        return $"Verdict: {Sentences.Name(first.Verdict)}. {first.Text} {first.Remedy}{besides}";
    }

    private static string Uncapitalized(string sentence) => char.ToLowerInvariant(sentence[0]) + sentence[1..];
}
