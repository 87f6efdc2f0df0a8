using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SafePool's types in a compilation, by name: the analyzers must not reference it.</summary>
internal sealed class PoolTypes
{
    private static readonly ImmutableHashSet<string> _rents = ImmutableHashSet.Create("RentAsync", "Rent", "TryRent", "TryRentAsync", "OpenConnectionAsync", "OpenConnection");

    private static readonly ImmutableArray<string> _factories = ImmutableArray.Create("Rent", "Acquire", "Create", "Open", "Make", "Take", "Begin");

    private readonly INamedTypeSymbol _interface;
    private readonly INamedTypeSymbol? _lease;
    private readonly INamedTypeSymbol? _token;

    private PoolTypes(Compilation compilation, INamedTypeSymbol pool, INamedTypeSymbol @interface)
    {
        (Pool, _interface) = (pool, @interface);
        _lease = compilation.GetTypeByMetadataName("SafePool.Lease");
        _token = compilation.GetTypeByMetadataName("System.Threading.CancellationToken");
    }

    public INamedTypeSymbol Pool { get; }

    /// <summary>Null in a compilation that does not use SafePool.</summary>
    public static PoolTypes? Find(Compilation compilation)
        => compilation.GetTypeByMetadataName("SafePool.ConnectionPool") is { } pool
            && compilation.GetTypeByMetadataName("SafePool.IConnectionPool") is { } @interface
                ? new PoolTypes(compilation, pool, @interface)
                : null;

    public bool IsPool(ITypeSymbol? type)
        => type is not null
            && (SymbolEqualityComparer.Default.Equals(type, Pool)
                || SymbolEqualityComparer.Default.Equals(type, _interface)
                || type.AllInterfaces.Contains(_interface, SymbolEqualityComparer.Default));

    public bool IsToken(ITypeSymbol? type) => SymbolEqualityComparer.Default.Equals(type, _token);

    /// <summary>Whether a call takes something out of a pool, which the caller then owes back.</summary>
    public bool IsRent(IInvocationOperation call) => _rents.Contains(call.TargetMethod.Name) && IsPool(call.TargetMethod.ContainingType);

    /// <summary>Whether a call gives a lease to its caller, who then owes it back: a rent, or a method that is named as one and returns a lease, or hands one out.</summary>
    public bool IsAcquisition(IInvocationOperation call) => IsRent(call) || Handed(call) is not null || (IsLease(Result(call.TargetMethod.ReturnType)) && IsNamedAsFactory(call.TargetMethod.Name));

    /// <summary>Whether a call may be one, by its looks.</summary>
    public static bool MayAcquire(string name, InvocationExpressionSyntax call)
        => IsNamedAsFactory(name) || _rents.Contains(name) || call.ArgumentList.Arguments.Any(argument => argument.RefKindKeyword.IsKind(SyntaxKind.OutKeyword));

    /// <summary>The argument through which a call hands a lease out.</summary>
    public IArgumentOperation? Handed(IInvocationOperation call)
        => call.Arguments.FirstOrDefault(argument => argument.Parameter is { RefKind: RefKind.Out } parameter && IsLease(parameter.Type));

    private static bool IsNamedAsFactory(string name) => _factories.Any(verb => name.StartsWith(verb, StringComparison.Ordinal));

    private static ITypeSymbol Result(ITypeSymbol type)
        => type is INamedTypeSymbol { Name: "Task" or "ValueTask", TypeArguments: { Length: 1 } arguments } ? arguments[0] : type;

    private bool IsLease(ITypeSymbol? type) => SymbolEqualityComparer.Default.Equals(type, _lease);

    /// <summary>Whether a call makes a pool.</summary>
    public bool IsCreation(IOperation operation) => operation switch
    {
        IObjectCreationOperation { Type: { } type } => SymbolEqualityComparer.Default.Equals(type, Pool),
        IInvocationOperation { TargetMethod: { Name: "Create", IsStatic: true } create } => SymbolEqualityComparer.Default.Equals(create.ContainingType, Pool),
        _ => false,
    };
}
