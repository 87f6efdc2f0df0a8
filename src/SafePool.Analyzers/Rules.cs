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

    public static readonly DiagnosticDescriptor UsedAfterReturn = New(
        "SFP0002",
        "A lease is used after it was returned",
        "{0}: {1}. It throws there, or worse, it has become somebody else's. Finish with it inside the 'using'.",
        DiagnosticSeverity.Error,
        "A lease, its connection, and the commands and readers made from it are valid until the lease is disposed. What is returned, stored or run later outlives it.");

    public static readonly DiagnosticDescriptor Stored = New(
        "SFP0003",
        "A lease is kept in a field that nothing disposes",
        "'{0}' keeps a lease, and {1}. Rent where it is needed, or dispose it in Dispose or DisposeAsync.",
        DiagnosticSeverity.Warning,
        "A lease in a field lives as long as the object, usually far longer than the work that it is for.");

    public static readonly DiagnosticDescriptor Nested = New(
        "SFP0004",
        "A second lease is rented while one is held",
        "'{0}' is rented from while this method holds a lease of it{1}: when all callers hold one and wait for another, none can go on. Hand the first lease on, or return it before.",
        DiagnosticSeverity.Warning,
        "A method that needs two connections at once needs a pool of twice as many, and deadlocks when it is full.",
        WellKnownDiagnosticTags.CompilationEnd);

    public static readonly DiagnosticDescriptor HeldAcross = New(
        "SFP0005",
        "A lease is held while something else is awaited",
        "A lease is held while '{0}' is awaited: nobody else can use the connection meanwhile. Return it before, and rent again.",
        DiagnosticSeverity.Info,
        "Connections are few; while one waits for a remote service, a timer or a lock, the pool is smaller by one. The list of such calls is 'safepool.slow_calls' in .editorconfig.");

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

    public static readonly DiagnosticDescriptor RetryAtOnce = New(
        "SFP0009",
        "An exhausted pool is asked again at once",
        "This loop rents again as soon as '{0}' says that there is no connection: the load grows when it should shrink. Wait for RetryAfter, or let the caller know.",
        DiagnosticSeverity.Info,
        "A rent has waited its whole budget when it fails. Retries without a pause keep the queue full.");

    public static readonly DiagnosticDescriptor ReaderLeftEarly = New(
        "SFP0010",
        "A reader is left before its end",
        "This leaves '{0}' early, and its dispose reads the rest of the result to the end. Cancel the command before, or ask for fewer rows.",
        DiagnosticSeverity.Info,
        "Npgsql has to read what the server sends. Cancel stops the server; LIMIT or CommandBehavior.SingleRow asks for less.");

    private static DiagnosticDescriptor New(string id, string title, string message, DiagnosticSeverity severity, string description, params string[] tags)
        => new(id, title, message, "SafePool", severity, isEnabledByDefault: true, description, $"docs/rules/{id}.md", tags);
}
