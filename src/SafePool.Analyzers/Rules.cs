using Microsoft.CodeAnalysis;

namespace SafePool.Analyzers;

/// <summary>Everything that the compiler may say. Each rule has a page in docs/rules.</summary>
internal static class Rules
{
    public static readonly DiagnosticDescriptor NotReturned = New(
        "SFP0001",
        "A lease is not returned",
        "{0} is not returned: {1}. Declare it with 'using'.",
        DiagnosticSeverity.Error,
        "What is rented from a pool, a lease or a connection of OpenConnection, must be disposed on every path, also when something throws. Otherwise its place is lost until the pool takes it back.");

    public static readonly DiagnosticDescriptor PoolPerCall = New(
        "SFP0006",
        "A pool is created per request or per call",
        "This pool is created {0}: its connections are opened for it and closed with it. Create one pool for the process, as a singleton.",
        DiagnosticSeverity.Warning,
        "A pool pays when it lives as long as the process. One per call opens connections for every call, and no limit holds for all of them together.");

    public static readonly DiagnosticDescriptor Blocking = New(
        "SFP0007",
        "A thread blocks on an asynchronous rent",
        "This blocks a thread of the thread pool until '{0}' has ended, which may need another one. Use '{1}'.",
        DiagnosticSeverity.Warning,
        "Under load every thread may wait for a rent whose continuation waits for a thread. Rent and OpenConnection block without needing one.");

    public static readonly DiagnosticDescriptor NoToken = New(
        "SFP0008",
        "A rent ignores the cancellation token in scope",
        "'{0}' is called without '{1}': it waits on for a caller who has gone",
        DiagnosticSeverity.Info,
        "A request that was cancelled leaves the queue at once if its rent knows the token.");

    private static DiagnosticDescriptor New(string id, string title, string message, DiagnosticSeverity severity, string description)
        => new(id, title, message, "SafePool", severity, isEnabledByDefault: true, description, $"docs/rules/{id}.md");
}
