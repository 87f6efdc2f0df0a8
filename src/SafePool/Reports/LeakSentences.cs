using SafePool.Operations;

namespace SafePool.Reports;

/// <summary>What is said about leases that are held for too long, or lost.</summary>
internal static class LeakSentences
{
    /// <summary>The finding in one sentence, with the stack below it if there is one.</summary>
    public static string Describe(LeakReport report)
    {
        var holder = report.Holder;
        var sentence = report.Kind switch
        {
            LeakKind.Overdue =>
                $"{holder} is overdue (more than {Sentences.Duration(holder.Threshold)}): {Doing(holder)}. {Remedy(holder)}",
            LeakKind.Dropped =>
                $"{holder} was lost without being returned, and taken back. Declare it with 'using'.",
            LeakKind.Abandoned =>
                $"{holder} was taken away from its holder because callers wait: {Doing(holder)}. {Remedy(holder)}",
            _ =>
                $"{holder} was reported as overdue and has been returned after all, held {Sentences.Duration(holder.Held)}.",
        };
        var stack = holder.StackTrace is { Length: > 0 } calls && report.Kind != LeakKind.ReturnedAfterAll ? Environment.NewLine + calls : "";
        return $"Pool '{report.PoolName}': {sentence}{stack}";
    }

    public static string UseOfAbandoned(LeaseHolder holder)
        => $"This lease was taken away: {holder}, quiet for {Sentences.Duration(holder.QuietFor)} while others waited (Leaks.AbandonAfter). " +
           "Return leases as soon as their work is done, and rent another one.";

    public static string Nested(string poolName, RentSite inner, RentSite outer)
        => $"Pool '{poolName}': the rent at {inner} is nested: its flow holds a lease of this pool, rented at {outer}, and NestedRents is Throw. " +
           "Pass the outer lease down, or return it first.";

    /// <summary>What a lease does, and how that is known.</summary>
    public static string Doing(LeaseHolder holder) => holder switch
    {
        { Backend: { } backend, IsBusy: false } => $"its session is {backend}",
        { Backend: { } backend } => $"a command is running for {Sentences.Duration(holder.BusyFor)}, its session is {backend}",
        { Activity: LeaseActivity.Running } => $"a command has been running for {AtLeast(holder)}",
        { Activity: LeaseActivity.AwaitingTransaction } => "returned, and kept until the end of its TransactionScope",
        { Activity: LeaseActivity.Reading } => $"a reader has been open for {AtLeast(holder)}",
        { Activity: LeaseActivity.IdleInTransaction } => $"idle in a transaction, not seen at work for {Sentences.Duration(holder.QuietFor)}",
        _ => $"not seen at work for {Sentences.Duration(holder.QuietFor)}",
    };

    private static string AtLeast(LeaseHolder holder)
        => holder.BusyFor == TimeSpan.Zero ? "a moment" : $"at least {Sentences.Duration(holder.BusyFor)}";

    private static string Remedy(LeaseHolder holder) => holder switch
    {
        { IsBusy: true } => "Bound it with StatementTimeout, or say ExpectedHold if it may take that long.",
        { Activity: LeaseActivity.AwaitingTransaction } => "Dispose the TransactionScope before slow work.",
        { Activity: LeaseActivity.IdleInTransaction } => "Commit and return it before slow work, or say ExpectedHold if it may take that long.",
        _ => "Return it with 'using', or say ExpectedHold if it may take that long.",
    };
}
