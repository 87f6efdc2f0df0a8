using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>The local variables of a method that hold a lease, its connection, or a command, batch, reader or transaction made from them.</summary>
internal sealed class MadeFrom
{
    private readonly ILocalSymbol _lease;
    private readonly HashSet<ISymbol> _locals = new(SymbolEqualityComparer.Default);

    public MadeFrom(ILocalSymbol lease, HeldRegion region)
    {
        _lease = lease;
        _locals.Add(lease);
        foreach (var declarator in region.Operations().OfType<IVariableDeclaratorOperation>())
        {
            if (declarator.GetVariableInitializer() is { } initializer && IsBoundTo(initializer.Value))
            {
                _locals.Add(declarator.Symbol);
            }
        }
    }

    public bool IsLease(IOperation operation) => operation is ILocalReferenceOperation local && SymbolEqualityComparer.Default.Equals(local.Local, _lease);

    public bool IsReference(IOperation operation) => operation is ILocalReferenceOperation local && _locals.Contains(local.Local);

    /// <summary>Whether a value dies with the lease: it is one of these things, or a task that works on one and was not awaited.</summary>
    public bool IsBoundTo(IOperation value)
    {
        var isAwaited = false;
        while (true)
        {
            switch (value)
            {
                case IAwaitOperation awaited:
                    isAwaited = true;
                    value = awaited.Operation;
                    continue;
                case IConversionOperation conversion:
                    value = conversion.Operand;
                    continue;
                case IInvocationOperation { TargetMethod.Name: "ConfigureAwait" or "AsTask", Instance: { } instance }:
                    value = instance;
                    continue;
                case ILocalReferenceOperation:
                    return IsReference(value);
                case IPropertyReferenceOperation { Instance: { } instance } property:
                    return IsOfTheDriver(property.Type) && IsBoundTo(instance);
                case IInvocationOperation call:
                    var on = call.Instance ?? (call.TargetMethod.IsExtensionMethod ? call.Arguments.FirstOrDefault()?.Value : null);
                    return on is not null
                        && (isAwaited ? IsOfTheDriver(Result(call.Type)) : IsOfTheDriver(call.Type) || IsTask(call.Type))
                        && IsBoundTo(on);
                default:
                    return false;
            }
        }
    }

    private static bool IsTask(ITypeSymbol? type) => type is { Name: "Task" or "ValueTask", ContainingNamespace: { Name: "Tasks" } };

    private static ITypeSymbol? Result(ITypeSymbol? type) => type is INamedTypeSymbol { TypeArguments: { Length: 1 } arguments } ? arguments[0] : type;

    private static bool IsOfTheDriver(ITypeSymbol? type)
        => type is { Name: "NpgsqlConnection" or "NpgsqlCommand" or "NpgsqlBatch" or "NpgsqlDataReader" or "NpgsqlTransaction" or "Lease" };
}
