namespace SafePool.Driver;

/// <summary>One proof that waiting is in vain.</summary>
/// <param name="Kind">Who is at fault.</param>
/// <param name="Sign">What to look for: a SQLSTATE or the class of several, or words.</param>
/// <param name="Why">Why no time cures it.</param>
internal sealed record InVainReason(OpenFailureKind Kind, string Sign, string Why);
