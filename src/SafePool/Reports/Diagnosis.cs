using System.Collections.Immutable;
using SafePool.Reports;

namespace SafePool;

/// <summary>Why a rent could not be served: a verdict, and what it rests on.</summary>
public sealed record Diagnosis
{
    internal Diagnosis(ImmutableArray<VerdictEvidence> evidence) => Evidence = evidence;

    /// <summary>Gets the cause that accounts for most of the pool's places.</summary>
    public PoolVerdict Verdict => Evidence[0].Verdict;

    /// <summary>Gets every cause that was found, the weightiest first. Never empty.</summary>
    public ImmutableArray<VerdictEvidence> Evidence { get; }

    /// <summary>Gets where the verdict is explained, relative to the project's root.</summary>
    public string HelpLink => DiagnosisSentences.HelpLink(Verdict);

    /// <summary>The verdict, the evidence and the remedy.</summary>
    /// <returns>As in the message of the exception.</returns>
    public override string ToString() => DiagnosisSentences.Describe(this);
}

/// <summary>One cause, and what speaks for it.</summary>
/// <param name="Verdict">The cause.</param>
/// <param name="Places">How many of the pool's places it accounts for.</param>
/// <param name="Text">What was seen, with its numbers, in one sentence.</param>
/// <param name="Remedy">What to do about it, in one sentence.</param>
public sealed record VerdictEvidence(PoolVerdict Verdict, int Places, string Text, string Remedy);
